"""The local stack: real Kafka, PostgreSQL and Valkey without Docker, and the services on top."""
