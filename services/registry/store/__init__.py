"""The registry in PostgreSQL, behind the handlers' Protocols."""

from services.registry.store.desk import Desk, Store
from services.registry.store.gallery import Gallery
from services.registry.store.keys import KeyTable

__all__ = ["Desk", "Gallery", "KeyTable", "Store"]
