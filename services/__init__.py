"""The seven services; they meet only in `shared.events`."""
