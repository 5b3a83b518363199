"""Apache Kafka for the local stack: its jars, its Java, its broker."""
