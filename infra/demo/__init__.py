"""The demo: a job of real size, played through the public APIs of all services and checked to the cent."""
