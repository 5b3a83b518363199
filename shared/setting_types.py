"""The types of settings that more than one service has: each refuses at the start what would only fail later.

A message never repeats a value: whether it may be shown is decided in one place, where the settings are refused.
"""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import psycopg
from cryptography.fernet import Fernet, MultiFernet
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr
from redis.asyncio.connection import parse_url

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
KafkaProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def cipher_of(keys: SecretStr) -> MultiFernet:
    """The cipher of one or more Fernet keys, separated by commas, the first encrypts; ValueError when one is none."""
    texts = keys.get_secret_value().split(",")
    for number, text in enumerate(texts, 1):
        try:
            Fernet(text.strip())
        except ValueError as error:
            which = f"key {number} of {len(texts)}" if len(texts) > 1 else "this"
            raise ValueError(f"{which} is not a Fernet key (32 bytes in url-safe base64)") from error
    return MultiFernet([Fernet(text.strip()) for text in texts])


def _secret_keys(keys: SecretStr) -> SecretStr:
    cipher_of(keys)
    return keys


def _kafka_servers(text: str) -> str:
    servers = [server.strip() for server in text.split(",")]
    for server in servers:
        host, _, port = server.rpartition(":")
        if not (_is_host(host.removeprefix("[").removesuffix("]")) and _is_port(port)):
            raise ValueError("must be host:port, several by commas")
    return ",".join(servers)


def _database_address(address: SecretStr) -> SecretStr:
    text = address.get_secret_value()
    try:
        parts = conninfo_to_dict(text)
    except psycopg.Error as error:
        raise ValueError(_DATABASE_FORM) from error
    ports = str(parts.get("port") or 5432).split(",")
    if not text.startswith(("postgresql://", "postgres://")) or not parts.get("user") or not all(map(_is_port, ports)):
        raise ValueError(_DATABASE_FORM)
    return address


_DATABASE_FORM = "must be postgresql://user:password@host:port/database; signs like % in a password as %25"


def _redis_address(address: SecretStr) -> SecretStr:
    try:
        parts = parse_url(address.get_secret_value())
        path = urlsplit(address.get_secret_value()).path.strip("/")
    except ValueError as error:
        raise ValueError(_REDIS_FORM) from error
    # The client takes a database that is no number for number 0, and an address without a host for this machine.
    if not parts.get("path") and (not parts.get("host") or (path and not path.isdecimal())):
        raise ValueError(_REDIS_FORM)
    return address


_REDIS_FORM = "must be redis://host:port/number, rediss:// for TLS, or unix:///path"


def _store_address(text: str) -> str:
    url = _split(text)
    extra = url.query or url.fragment or "@" in url.netloc
    if url.scheme == "file" and not url.netloc and len(url.path) > 1 and not extra:
        _refuse_unusable_folder(Path(unquote(url.path)))
        return text
    if url.scheme == "s3" and _BUCKET.fullmatch(url.netloc) and not extra:
        return text
    if text in ("memory://", "memory:///"):
        return text
    raise ValueError("must be file:///folder or s3://bucket/prefix (its credentials in AWS_ACCESS_KEY_ID and so on)")


def _refuse_unusable_folder(folder: Path) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"{there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"this process may not write in {there}")


def _service_url(text: str) -> str:
    url = _split(text)
    if url.scheme not in ("http", "https") or not _is_host(url.hostname or "") or url.query or url.fragment:
        raise ValueError("must be http://host:port or https://host:port, perhaps with a path")
    if "@" in url.netloc or re.search(r"[\s\\]", text):
        raise ValueError("must be an address without user, password or spaces")
    return text.rstrip("/")


def _host(text: str) -> str:
    if not _is_host(text):
        raise ValueError("must be the address or name of a network interface")
    return text


def _split(text: str) -> SplitResult:
    url = urlsplit(text)
    if url.port == 0:  # reading it is what proves it a number up to 65535
        raise ValueError("port 0 is none")
    return url


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        # Only digits and dots that are no address: somebody's typing error.
        return bool(_HOST_NAME.fullmatch(text)) and not re.fullmatch(r"[\d.]+", text)
    return True


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,5}", text)) and 1 <= int(text) <= 65535


SecretKeys = Annotated[
    SecretStr, AfterValidator(_secret_keys), Field(examples=["$(openssl rand -base64 32 | tr '+/' '-_')"])
]
"""One or more Fernet keys, separated by commas; the first one encrypts, all decrypt."""

KafkaServers = Annotated[str, AfterValidator(_kafka_servers), Field(examples=["127.0.0.1:9092"])]
DatabaseAddress = Annotated[SecretStr, AfterValidator(_database_address)]
RedisAddress = Annotated[SecretStr, AfterValidator(_redis_address), Field(examples=["redis://127.0.0.1:6379/0"])]
StoreAddress = Annotated[str, AfterValidator(_store_address), Field(examples=["file:///var/lib/twintally/store"])]
ServiceUrl = Annotated[str, AfterValidator(_service_url)]
"""Where another service is; without a slash at its end."""

ListenHost = Annotated[str, AfterValidator(_host), Field(examples=["127.0.0.1"])]
Port = Annotated[int, Field(ge=1, le=65535)]
