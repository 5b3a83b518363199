"""The broker's jars: fetched once per user by jgo's own resolver, checked against the lock before every start."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from infra.local.faults import StackError, of_system

KAFKA_VERSION = "4.4.0"
FETCHES_AT_ONCE = 4
FETCH_TIMEOUT_S = 30

Progress = Callable[[int, int], None]
"""Called with (jars at hand, jars in all) while they are fetched."""


@dataclass(frozen=True)
class Jar:
    """One jar as the lock names it."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name in the cache."""
        return f"{self.artifact}-{self.version}.jar"


def locked_jars(text: str | None = None) -> tuple[Jar, ...]:
    """The jars of `jgo.lock.toml`; a jar without a checksum is an error."""
    lock = tomllib.loads(text if text is not None else files(__package__).joinpath("jgo.lock.toml").read_text())
    return tuple(
        Jar(each["groupId"], each["artifactId"], each["version"], each["sha256"]) for each in lock["dependencies"]
    )


def default_cache() -> Path:
    """Where this user's jars are kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home.absolute() / "twintally" / f"kafka-{KAFKA_VERSION}"


def class_path(cache: Path | None = None, progress: Progress = lambda _done, _total: None) -> tuple[Path, ...]:
    """Every jar of the lock, present and proved; fetches what is missing. Raises StackError."""
    folder = cache or default_cache()
    jars = locked_jars()
    try:
        with _alone(folder):
            missing = [jar for jar in jars if not (folder / jar.file_name).exists()]
            if missing:
                _fetch(missing, folder, lambda done: progress(len(jars) - len(missing) + done, len(jars)))
            _check(jars, folder)
    except OSError as error:
        raise of_system("kafka", error) from error
    return tuple(folder / jar.file_name for jar in jars)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time fetches or checks; the others wait and then find everything there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(jars: list[Jar], folder: Path, done: Callable[[int], None]) -> None:
    done(0)
    # Inside the cache, so that the move at the end is a rename: a jar is there whole or not at all.
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch,
        ThreadPoolExecutor(FETCHES_AT_ONCE) as pool,
    ):
        fetched = pool.map(lambda jar: _fetch_one(jar, Path(scratch)), jars)
        for count, (jar, path) in enumerate(zip(jars, fetched, strict=True), start=1):
            if sha256_of(path) != jar.sha256:
                raise StackError(
                    "kafka",
                    f"{jar.file_name} was fetched, but is not the file that the lock names (its sha256 differs).",
                    "Something on the way alters files: try another network, or set TWINTALLY_MAVEN to another mirror.",
                )
            path.replace(folder / jar.file_name)
            done(count)


def _fetch_one(jar: Jar, scratch: Path) -> Path:
    # jgo takes half a second to import, and is needed on the first start only.
    import requests
    from jgo.maven import MavenContext, PythonResolver

    mirror = os.environ.get("TWINTALLY_MAVEN")
    context = MavenContext(
        resolver=PythonResolver(),
        repo_cache=scratch,
        local_repos=[],
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
        timeout=FETCH_TIMEOUT_S,
    )
    try:
        return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())
    except (requests.RequestException, RuntimeError) as error:
        raise StackError(
            "kafka",
            f"{jar.file_name} could not be fetched: {_reason(error)}.",
            "The first start needs Maven Central. Connect to a network, set TWINTALLY_MAVEN to a mirror's address, "
            "or set TWINTALLY_KAFKA to a broker you have.",
        ) from error


def _reason(error: Exception) -> str:
    import requests

    match error:
        case requests.Timeout():
            return "the registry did not answer in time"
        case requests.ConnectionError():
            return "the registry cannot be reached"
        case _:
            return "the registry does not have it"


def _check(jars: tuple[Jar, ...], folder: Path) -> None:
    """Compare each jar with the lock; one that was proved and has not been touched since is not read again."""
    proved_file = folder / ".proved.json"
    proved = _read_proved(proved_file)
    now: dict[str, list[object]] = {}
    for jar in jars:
        path = folder / jar.file_name
        status = path.stat()
        mark: list[object] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, jar.sha256]
        if proved.get(jar.file_name) != mark and sha256_of(path) != jar.sha256:
            raise StackError(
                "kafka",
                f"{path} is not the file that the lock names (its sha256 differs): it was damaged or changed.",
                "Delete this file and start again: it is fetched anew.",
            )
        now[jar.file_name] = mark
    if now != proved:
        draft = proved_file.with_suffix(".new")
        draft.write_text(json.dumps(now))
        draft.replace(proved_file)


def _read_proved(path: Path) -> dict[str, list[object]]:
    try:
        proved = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return proved if isinstance(proved, dict) else {}


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
