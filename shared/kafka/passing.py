"""What passes by itself: the world is at fault, not the record. Worth a repeat, never a dead letter."""

import psycopg
import psycopg_pool
from aiokafka.errors import KafkaError

from shared.kafka.producer import NotSent

PASSING_FAULTS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg_pool.PoolTimeout,
    psycopg_pool.PoolClosed,
    KafkaError,
    NotSent,
    ConnectionError,
    TimeoutError,
)
