"""A stack: real Kafka, PostgreSQL and Valkey, and the services on top, as children of this process.

    with Stack.running(directory) as stack:
        connect(stack.kafka, stack.database, stack.redis)

The command line runs one in a supervisor of its own; tests and the demo run one in their own process. Whatever a killed
owner left behind is stopped by the next one that starts in the same directory.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self

from infra.local.assembly import Assembly, assemble
from infra.local.crew import Crew, reclaim
from infra.local.faults import StackError, of_system
from infra.local.hooks import run_hook
from infra.local.processes import Identity, identify
from infra.local.runner import Runner
from infra.local.services import SERVICES, Command, Service, env_for
from infra.local.settings import External, StackSettings, named
from infra.local.state import PartState, Phase, StackState, own, read_state, write_state

__all__ = ["Command", "External", "Service", "Stack", "StackError", "StackSettings"]

SERVICE_GRACE_S = 15.0
PART_GRACE_S = 20.0


class Stack:
    """One stack. Its methods may be called from any thread, and block: from async code use `asyncio.to_thread`."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.directory = settings.directory.absolute()
        self._crew = Crew(self._save)
        self._saving = threading.Lock()
        self._owned: IO[str] | None = None
        self._assembly: Assembly | None = None
        self._phase: Phase = "starting"
        self._doing = ""
        self._failure: StackError | None = None

    @classmethod
    @contextmanager
    def running(
        cls,
        directory: Path,
        *,
        services: tuple[str | Service, ...] = (),
        hooks: tuple[Command, ...] = (),
        env: Mapping[str, str] | None = None,
        external: External | None = None,
        before: Mapping[str, int] | None = None,
        ports: Mapping[str, int] | None = None,
    ) -> Iterator[Self]:
        """A stack that is ready inside the `with` and gone after it; raises StackError when it cannot be had."""
        outside = external if external is not None else External.from_env()
        settings = StackSettings(
            directory, named(services), hooks, env or {}, outside, before=before or {}, ports=ports or {}
        )
        stack = cls(settings)
        stack.up()
        try:
            yield stack
        finally:
            stack.down()

    # -- where things are

    @property
    def kafka(self) -> str:
        """The bootstrap server, `host:port`."""
        return self._known.addresses.kafka

    @property
    def database(self) -> str:
        """The owner's address of the database."""
        return self._known.addresses.database

    @property
    def redis(self) -> str:
        """The address of Valkey, a Redis URL."""
        return self._known.addresses.redis

    def url(self, service: str) -> str:
        """Where a service serves HTTP."""
        return f"http://127.0.0.1:{self._known.addresses.service_ports[service]}"

    def env_for(self, service: str) -> dict[str, str]:
        """What a service finds in its environment, beside this process's own; also one that this stack does not run."""
        own_ones = {each.name: each for each in self.settings.services}
        known = own_ones.get(service) or SERVICES[service]
        return {**env_for(known, self._known.addresses), **self.settings.env}

    def part(self, name: str) -> PartState:
        """One part or service as it is now: state, pid, restarts."""
        return self._crew.records()[name]

    # -- the whole stack

    def up(self) -> None:
        """Start everything and return when it is ready; on a fault stop everything again and raise StackError."""
        self._owned = own(self.directory)
        atexit.register(self.down)
        try:
            self._bring_up()
        except OSError as error:
            self._failure = of_system("stack", error)
            self._take_down("failed")
            raise self._failure from error
        except BaseException as error:
            self._failure = error if isinstance(error, StackError) else None
            self._take_down("failed")
            raise

    def down(self) -> None:
        """Stop everything; returns when no process is left. Doing it again changes nothing."""
        if self._owned is not None:
            self._take_down("stopped")

    def cancel(self) -> None:
        """Make an `up` that is under way give up soon; may be called from a signal handler."""
        self._crew.cancelled.set()

    def _bring_up(self) -> None:
        before = read_state(self.directory)
        if before is not None:
            reclaim(before.parts)
        known = self._assembly = assemble(self.settings, self.directory, before.ports if before else {})
        logs = self.directory / "logs"
        for part in (*known.parts, *known.services):
            self._crew.add(Runner(part, logs / f"{part.name}.log", known.base_env))
        self._say("starting the parts")
        self._crew.start_together([part.name for part in known.parts])
        if self.settings.revive:
            self._crew.watch()
        for hook in self.settings.hooks:
            self._say(f"running {hook.name}")
            run_hook(hook, known.hook_env, logs, self._crew.cancelled)
        if known.services:
            self._say("starting the services")
        for service in known.services:
            self._crew.spawn(service.name)
        for service in known.services:
            self._crew.wait_ready(service.name)
        self._crew.settled = True
        self._phase = "ready"
        self._say("")

    def _take_down(self, end: Phase) -> None:
        self._phase = "stopping"
        services = [part.name for part in self._assembly.services] if self._assembly else []
        parts = [part.name for part in self._assembly.parts] if self._assembly else []
        self._crew.dismiss([(services, SERVICE_GRACE_S), (parts, PART_GRACE_S)])
        self._phase = end
        self._say("")
        if self._owned is not None:
            self._owned.close()
            self._owned = None
        atexit.unregister(self.down)

    # -- one part or service

    def start(self, name: str) -> None:
        """Start one part or service that was stopped, and wait until it is ready."""
        self._crew.start(name)

    def stop(self, name: str) -> None:
        """Stop one part or service in order; it stays down until `start`."""
        self._crew.stop([name], PART_GRACE_S)

    def restart(self, name: str) -> None:
        """Stop one part or service in order, start it again, wait until it is ready."""
        self.stop(name)
        self.start(name)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> Identity:
        """Send a signal and do not wait; what dies of it is started again, as after any death (if `revive` is on).

        Returns the process that got it: `wait_ready(name, unlike=that)` waits for its successor.
        """
        return self._crew.signal(name, number)

    def pause(self, name: str) -> None:
        """Put a part or service to sleep where it is: when this returns, it no longer answers."""
        self._crew.pause(name)

    def resume(self, name: str) -> None:
        """Let what was paused go on."""
        self._crew.signal(name, signal.SIGCONT)

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """A part or service sleeps while this lasts."""
        self.pause(name)
        try:
            yield
        finally:
            self.resume(name)

    def wait_ready(self, name: str, timeout_s: float = 60.0, *, unlike: Identity | None = None) -> None:
        """Wait until a part or service is ready (again); raises StackError with the end of its log."""
        self._crew.wait_ready(name, timeout_s, unlike=unlike)

    # -- inside

    @property
    def _known(self) -> Assembly:
        if self._assembly is None:
            raise StackError("stack", "it has not been started.", "Call up() first.")
        return self._assembly

    def _say(self, doing: str) -> None:
        self._doing = doing
        self._save()

    def _save(self) -> None:
        # Called from the watching thread as well, which a full disk must not end.
        with self._saving, suppress(OSError):
            write_state(self.directory, self._state())

    def _state(self) -> StackState:
        known = self._assembly
        state = StackState(
            phase=self._phase,
            doing=self._doing,
            owner=identify(os.getpid()),
            failure=self._failure.to_json() if self._failure else None,
        )
        if known is None:
            return state
        at = known.addresses
        found = {"kafka": at.kafka, "database": at.database, "redis": at.redis, "ports": known.ports}
        return state.model_copy(update={**found, "parts": {**known.outside, **self._crew.records()}})
