"""The stream as our services use it. Importing this package mends aiokafka before anything else can use it."""

from shared.kafka.client import KafkaAddress, be_patient_with_metadata, connection
from shared.kafka.records import Record

be_patient_with_metadata()

__all__ = ["KafkaAddress", "Record", "connection"]
