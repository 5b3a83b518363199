"""What settings take and refuse: a wrong one must be seen at the start, not by the first message."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import BaseModel, SecretStr, ValidationError

from shared.setting_types import (
    DatabaseAddress,
    KafkaServers,
    ListenHost,
    RedisAddress,
    SecretKeys,
    ServiceUrl,
    StoreAddress,
    cipher_of,
)
from shared.settings import KafkaSettings

KEY, OLDER_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()


class Taken(BaseModel):
    """A setting of each type."""

    keys: SecretKeys | None = None
    kafka: KafkaServers | None = None
    database: DatabaseAddress | None = None
    redis: RedisAddress | None = None
    store: StoreAddress | None = None
    url: ServiceUrl | None = None
    host: ListenHost | None = None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("keys", KEY),
        ("keys", f"{KEY}, {OLDER_KEY}"),
        ("kafka", "broker-1.internal:9092,broker_2:9092,[::1]:9092,127.0.0.1:1"),
        ("database", "postgresql://intake_api:p%25w@db.internal:5432/twintally?sslmode=require"),
        ("database", "postgres://intake_api@one:5432,two:5433/twintally"),
        ("database", "postgresql://intake_api@/twintally?host=/var/run/postgresql"),
        ("redis", "rediss://user:pw@cache:6379/0"),
        ("redis", "redis://cache"),
        ("redis", "unix:///run/valkey.sock"),
        ("store", "s3://bucket-1/some/prefix"),
        ("store", "file:///tmp/with%20space/that/is/not/there/yet"),
        ("url", "https://[::1]:8002/base"),
        ("url", "http://registry:8000"),
        ("host", "0.0.0.0"),
        ("host", "::"),
        ("host", "localhost"),
    ],
)
def test_a_sound_setting_is_taken(name: str, value: str) -> None:
    assert getattr(Taken.model_validate({name: value}), name) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("keys", value) for value in ("", "short", f"{KEY},", f"{KEY},short", "é" * 44)),
        *(("kafka", value) for value in ("broker", "broker:", "broker:0", "broker:70000", "kafka://broker:9092")),
        *(("kafka", value) for value in ("a:9092,", "a:9092;b:9092", "a b:9092", "1.2.3:9092")),
        *(("database", value) for value in ("nonsense", "http://db/x", "user=a dbname=b", "postgresql://db/x")),
        *(("database", f"postgresql://u:p@{rest}") for rest in ("h:abc/d", "h:70000/d", "h/d?foo=1", "h:1,h:x/d")),
        ("database", "postgresql://u:100%zz@h/d"),
        *(("redis", value) for value in ("cache:6379", "redis://", "redis://h:x", "redis://h:70000", "redis://h/abc")),
        *(("redis", value) for value in ("http://cache", "redis://h?socket_timeout=soon", "redis://[::1")),
        *(("store", value) for value in ("nonsense", "/srv/store", "file://srv/store", "file:///", "gs://bucket")),
        *(("store", value) for value in ("s3://", "s3://k:secret@bucket/x", "s3://Bucket", "s3://bucket?x=1")),
        ("store", "file:///etc/hostname/below-a-file"),
        *(("url", value) for value in ("registry:8000", "http://", "http://h:x", "http://h:70000", "http://h:0")),
        *(("url", value) for value in ("ftp://h", "http://h/?a=1", "http://h/#a", "http://u:p@h", "http://a b")),
        *(("host", value) for value in ("", "not a host", "http://h", "999.1.1.1", "-h")),
    ],
)
def test_a_malformed_setting_is_refused_without_repeating_it(name: str, value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Taken.model_validate({name: value})
    [error] = refused.value.errors()
    assert error["loc"] == (name,)
    assert value in ("", "http://", "s3://", "redis://", "file:///") or value not in error["msg"]


def test_the_bad_one_of_several_keys_is_named_by_its_place() -> None:
    with pytest.raises(ValidationError, match="key 2 of 3 is not a Fernet key"):
        Taken.model_validate({"keys": f"{KEY},bad,{OLDER_KEY}"})


def test_spaces_between_brokers_do_not_reach_the_client() -> None:
    assert KafkaSettings(kafka="a:1, b:2").kafka == "a:1,b:2"


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    sealed = cipher_of(SecretStr(OLDER_KEY)).encrypt(b"x")
    assert cipher_of(SecretStr(f"{KEY}, {OLDER_KEY}")).decrypt(sealed) == b"x"
    assert Fernet(KEY).decrypt(cipher_of(SecretStr(f"{KEY},{OLDER_KEY}")).encrypt(b"y")) == b"y"


@pytest.mark.parametrize("missing", ["kafka_username", "kafka_password"])
def test_sasl_needs_a_name_and_a_password(missing: str) -> None:
    whole = {"kafka_username": "intake", "kafka_password": "p", "kafka_security_protocol": "SASL_PLAINTEXT"}
    assert KafkaSettings.model_validate({"kafka": "k:1", **whole}).kafka_username == "intake"
    with pytest.raises(ValidationError, match=r"must be set when TWINTALLY_KAFKA_SECURITY_PROTOCOL is") as refused:
        KafkaSettings.model_validate({"kafka": "k:1", **whole, missing: None})
    assert refused.value.errors()[0]["loc"] == (missing,)


def test_the_file_of_certificates_must_be_one(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (tmp_path / "absent.pem", tmp_path, empty):
        with pytest.raises(ValidationError, match="certificates in PEM form"):
            KafkaSettings(kafka="k:1", kafka_ca_file=str(path))
