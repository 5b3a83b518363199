"""One Kafka node, broker and controller in one, in KRaft mode."""

from __future__ import annotations

import base64
import signal
import struct
import subprocess
import uuid
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from infra.local.faults import StackError, last_words
from infra.local.kafka.jars import class_path
from infra.local.kafka.java import find_java
from infra.local.parts import Launch
from infra.local.ports import HOST, answers

HEAP = ("-Xmx256m", "-XX:+UseSerialGC")
FORMAT_TIMEOUT_S = 60
# Kafka's ApiVersions request, version 0: api key 18, version 0, correlation id 7, no client id.
_HELLO_BODY = struct.pack(">hhih", 18, 0, 7, -1)
HELLO = struct.pack(">i", len(_HELLO_BODY)) + _HELLO_BODY


def properties(directory: Path, port: int, controller_port: int, advertised_port: int | None = None) -> str:
    """The node's `server.properties`: small, single, and without topics that create themselves."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{advertised_port or port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": directory / "data",
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "num.network.threads": 2,
        "num.io.threads": 2,
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def new_cluster_id() -> str:
    """A UUID in url-safe base64, 22 characters; never with a "-" in front, which the tool takes for an option."""
    while True:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id


@dataclass(frozen=True)
class Kafka:
    """Apache Kafka from its jars, run by the Java at hand.

    With `advertised_port` clients are sent there: to whatever stands before the broker.
    """

    directory: Path
    port: int
    controller_port: int
    advertised_port: int | None = None
    cache: Path | None = None
    name: str = "kafka"
    start_timeout_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def address(self) -> str:
        """The bootstrap server."""
        return f"{HOST}:{self.advertised_port or self.port}"

    def prepare(self) -> None:
        """Write the settings and, the first time, format the storage."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(properties(self.directory, self.port, self.controller_port, self.advertised_port))
        self._logging.write_text(files(__package__).joinpath("log4j2.properties").read_text())
        if not (self.directory / "data" / "meta.properties").exists():
            self._format()

    def launch(self) -> Launch:
        """The broker in the foreground; the jars are proved before every start."""
        return Launch((*self._java(), "kafka.Kafka", str(self._properties)), {}, self.directory)

    def ready(self) -> bool:
        """Whether it answers a Kafka request; KRaft opens for clients only when the node has joined its own cluster."""
        answer = answers(HOST, self.port, HELLO)
        return len(answer) >= 10 and answer[4:10] == struct.pack(">ih", 7, 0)

    def settle(self) -> None:
        """Nothing more."""

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _logging(self) -> Path:
        return self.directory / "log4j2.properties"

    def _java(self) -> tuple[str, ...]:
        jars = ":".join(str(path) for path in class_path(self.cache))
        return (str(find_java()), *HEAP, f"-Dlog4j2.configurationFile={self._logging}", "-cp", jars)

    def _format(self) -> None:
        tool = ("kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", str(self._properties))
        try:
            subprocess.run(  # noqa: S603
                (*self._java(), *tool), capture_output=True, text=True, timeout=FORMAT_TIMEOUT_S, check=True
            )
        except subprocess.SubprocessError as error:
            remedy = f"Check the free space of the disk; delete {self.directory} to begin with an empty broker."
            raise StackError("kafka", f"its storage could not be formatted:\n{last_words(error)}", remedy) from error
