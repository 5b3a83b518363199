"""The local stack with its real parts. These tests start their own stacks: what they break, no other test needs."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from typer.testing import CliRunner

from infra.local import launch
from infra.local.cli import app
from infra.local.faults import AlreadyRunningError, StackError
from infra.local.kafka.jars import class_path, default_cache, locked_jars
from infra.local.processes import Identity, alive, send
from infra.local.stack import Command, External, Service, Stack, StackSettings
from infra.local.state import StackState, read_state

pytestmark = pytest.mark.timeout(100)

NOBODY = External()
# Kafka stands still where a test is not about it: its start takes five of the six seconds.
NO_KAFKA = External(kafka="127.0.0.1:1")

DUMMY = """
import http.server, os, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()
pathlib.Path(os.environ["SEEN"]).write_text("\\n".join(f"{k}={v}" for k, v in os.environ.items()))
http.server.HTTPServer(("127.0.0.1", int(os.environ["TWINTALLY_HTTP_PORT"])), Handler).serve_forever()
"""


def dummy(name: str = "dummy") -> Service:
    return Service(name, (sys.executable, "-c", DUMMY))


def eventually(true: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def processes_of(state: StackState | None) -> dict[str, Identity]:
    assert state is not None
    return {name: part.process for name, part in state.parts.items() if part.process is not None}


def living_below(directory: Path) -> list[str]:
    """The command lines that name a directory; a stack's parts all do, whoever their parent is."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line and entry.name != str(os.getpid()):
            found.append(line)
    return found


async def send_and_read(bootstrap: str, value: bytes) -> bytes:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    consumer = AIOKafkaConsumer("t", bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with producer, consumer:
        await producer.send_and_wait("t", value)
        return (await consumer.getone()).value


async def create_topic(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("t", 1, 1)])
    finally:
        await admin.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Stack]]:
    """Two whole stacks, started at the same time in two directories."""
    directories = [tmp_path_factory.mktemp("stack") for _ in range(2)]
    with ExitStack() as stacks:
        managers = [Stack.running(directory, external=NOBODY) for directory in directories]
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(stacks.enter_context, managers)
        yield first, second
        started = [
            process for stack in (first, second) for process in processes_of(read_state(stack.directory)).values()
        ]
    assert len(started) == 6
    assert not any(alive(process) for process in started)
    assert not [line for directory in directories for line in living_below(directory)]


async def test_two_stacks_answer_side_by_side(pair: tuple[Stack, Stack]):
    assert len({address for stack in pair for address in (stack.kafka, stack.database, stack.redis)}) == 6
    for number, stack in enumerate(pair):
        await create_topic(stack.kafka)
        assert await send_and_read(stack.kafka, b"%d" % number) == b"%d" % number
        with redis.from_url(stack.redis) as client:
            client.set("stack", number)
        with psycopg.connect(stack.database) as connection:
            connection.execute("CREATE TABLE stack AS SELECT %s AS number", [number])
            (version,) = connection.execute("SHOW server_version_num").fetchone() or ()
            assert version.startswith("18")
    for number, stack in enumerate(pair):
        with redis.from_url(stack.redis) as client:
            assert client.get("stack") == b"%d" % number
        with psycopg.connect(stack.database) as connection:
            assert connection.execute("SELECT number FROM stack").fetchall() == [(number,)]


def test_a_killed_part_comes_back_with_what_it_had(pair: tuple[Stack, Stack]):
    stack = pair[0]
    with psycopg.connect(stack.database, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS kept")
    killed = stack.kill("postgres")
    stack.wait_ready("postgres", 30, unlike=killed)
    assert stack.part("postgres").restarts == 1
    with psycopg.connect(stack.database) as connection:
        assert connection.execute("SELECT kept FROM kept").fetchall() == [(1,)]


def test_a_part_that_was_stopped_stays_down_until_it_is_started(pair: tuple[Stack, Stack]):
    stack = pair[0]
    with redis.from_url(stack.redis) as client:
        client.set("mark", "1")
        stack.stop("valkey")
        with pytest.raises(redis.exceptions.ConnectionError):
            client.get("mark")
        stack.start("valkey")
        assert client.get("mark") == b"1"


async def test_kafka_keeps_its_records_over_a_restart(pair: tuple[Stack, Stack]):
    stack = pair[1]
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    stack.restart("kafka")
    await admin.start()
    try:
        assert "t" in await admin.list_topics()
    finally:
        await admin.close()


def test_a_second_stack_in_the_same_directory_is_refused(pair: tuple[Stack, Stack]):
    with pytest.raises(AlreadyRunningError, match="already runs"), Stack.running(pair[0].directory):
        pass


def test_orphans_of_a_killed_supervisor_are_reclaimed(tmp_path: Path):
    settings = StackSettings(
        directory=tmp_path, services=(dummy(),), external=NOBODY, env={"SEEN": str(tmp_path / "seen")}
    )
    first = launch.start_and_wait(settings)
    assert first.owner is not None
    orphans = processes_of(first)
    assert set(orphans) == {"kafka", "postgres", "valkey", "dummy"}
    send(first.owner, signal.SIGKILL)
    eventually(lambda: first.owner is not None and not alive(first.owner))
    assert all(alive(process) for process in orphans.values())

    second = launch.start_and_wait(settings)
    try:
        assert not any(alive(process) for process in orphans.values())
        assert second.ports == first.ports
        assert not set(processes_of(second).values()) & set(orphans.values())
    finally:
        stopped = launch.stop(tmp_path)
    assert stopped == ["kafka", "postgres", "valkey", "dummy"]
    assert not living_below(tmp_path)


def test_a_service_that_dies_is_started_again_and_sees_only_its_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TWINTALLY_DATABASE", "postgresql://owner@nowhere/x")
    seen = tmp_path / "seen"
    with Stack.running(tmp_path, services=(dummy(),), external=NO_KAFKA, env={"SEEN": str(seen)}) as stack:
        for deaths in (1, 2):
            killed = stack.kill("dummy")
            stack.wait_ready("dummy", 15, unlike=killed)
            assert stack.part("dummy").restarts == deaths
        env = dict(line.split("=", 1) for line in seen.read_text().splitlines() if "=" in line)
        assert stack.env_for("dummy").items() <= env.items()
        assert "TWINTALLY_DATABASE" not in env
        process = stack.part("dummy").process
    assert process is not None
    assert not alive(process)
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_service_that_cannot_start_is_told_with_the_end_of_its_log(tmp_path: Path):
    broken = Service("broken", (sys.executable, "-c", "raise SystemExit('no settings for me')"))
    with (
        pytest.raises(StackError, match="no settings for me") as told,
        Stack.running(tmp_path, services=(broken,), external=External(kafka="k:1", database="d", redis="r")),
    ):
        pass
    assert told.value.part == "broken"
    state = read_state(tmp_path)
    assert state is not None
    assert state.phase == "failed"


def test_hooks_run_in_order_and_the_first_that_fails_ends_the_start(tmp_path: Path):
    trace = tmp_path / "trace"
    hooks = (
        Command("one", ("sh", "-c", f"echo $TWINTALLY_DATABASE > {trace}")),
        Command("two", ("sh", "-c", "echo sorry; exit 3")),
        Command("three", ("sh", "-c", f"echo three >> {trace}")),
    )
    given = External(kafka="k:1", database="postgresql://me@db/x", redis="redis://r")
    with (
        pytest.raises(StackError, match=r"it ended with 3.\n  \| sorry"),
        Stack.running(tmp_path, hooks=hooks, external=given),
    ):
        pass
    assert trace.read_text() == "postgresql://me@db/x\n"


def test_a_tampered_jar_is_refused_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = class_path()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("TWINTALLY_KAFKA", "TWINTALLY_DATABASE", "TWINTALLY_REDIS"):
        monkeypatch.delenv(name, raising=False)
    default_cache().mkdir(parents=True)
    for jar in real:
        shutil.copy2(jar, default_cache())
    assert len(class_path()) == len(locked_jars())
    victim = default_cache() / "kafka-clients-4.4.0.jar"
    before = victim.stat()
    with victim.open("r+b") as jar_file:
        jar_file.seek(1000)
        jar_file.write(b"\0\1\2\3")
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(StackError, match=r"kafka-clients-4.4.0.jar is not the file that the lock names"):
        class_path()
    told = CliRunner().invoke(app, ["up", "--parts-only", "--dir", str(tmp_path / "stack")])
    assert told.exit_code == 1
    assert "kafka-clients-4.4.0.jar" in told.output
    assert "Delete this file and start again" in told.output
    assert "Traceback" not in told.output


def test_up_status_logs_and_down_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TWINTALLY_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("COLUMNS", "200")
    cli = CliRunner()
    at = ["--dir", str(tmp_path)]
    started = cli.invoke(app, ["up", "--parts-only", *at])
    try:
        assert started.exit_code == 0, started.output
        shown = cli.invoke(app, ["status", *at])
        assert shown.exit_code == 0
        assert {"kafka", "external", "postgres", "valkey", "ready"} <= set(shown.output.split())
        assert "already runs" in cli.invoke(app, ["up", "--parts-only", *at]).output
        assert cli.invoke(app, ["logs", "valkey", "-n", "5", *at]).output
        assert "valkey     | " in cli.invoke(app, ["logs", *at]).output
        assert "Logs here:" in cli.invoke(app, ["logs", "nothing", *at]).output
    finally:
        stopped = cli.invoke(app, ["down", *at])
    assert "Stopped: postgres, valkey" in stopped.output
    assert cli.invoke(app, ["status", *at]).exit_code == 1
    assert "Nothing runs here" in cli.invoke(app, ["down", *at]).output
    assert not living_below(tmp_path)


def test_a_stubborn_service_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("infra.local.stack.SERVICE_GRACE_S", 0.5)
    deaf = Service("deaf", (sys.executable, "-c", f"import signal; signal.signal(15, signal.SIG_IGN)\n{DUMMY}"))
    given = External(kafka="k:1", database="postgresql://me@db/x", redis="redis://r")
    with Stack.running(tmp_path, services=(deaf,), external=given, env={"SEEN": str(tmp_path / "seen")}) as stack:
        process = stack.part("deaf").process
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert process is not None
    assert not alive(process)
