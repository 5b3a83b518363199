"""The real parts that tests talk to: one Kafka, PostgreSQL and Valkey for the whole run."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.local.services import Command, as_role
from infra.local.stack import Stack
from shared.settings import KafkaSettings

ALLOWED_SKIP = "evaluation kit"

HOOKS = (
    Command("migrate", (sys.executable, "-m", "infra.cli", "migrate")),
    Command("topics", (sys.executable, "-m", "infra.cli", "topics", "apply", "--profile", "local")),
)


@dataclass(frozen=True)
class Parts:
    """A running stack as the tests of the services see it."""

    running: Stack

    @property
    def kafka(self) -> str:
        return self.running.kafka

    @property
    def database(self) -> str:
        """The owner's address."""
        return self.running.database

    @property
    def redis(self) -> str:
        return self.running.redis

    @property
    def kafka_settings(self) -> KafkaSettings:
        return KafkaSettings(kafka=self.running.kafka)

    def database_for(self, role: str) -> SecretStr:
        """The address of the database for one of the services' roles."""
        return SecretStr(as_role(self.running.database, role, None))

    def env_for(self, service: str) -> dict[str, str]:
        """The environment of a service, as the stack would start it."""
        return self.running.env_for(service)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """Kafka, PostgreSQL and Valkey, migrated, with all topics; no service runs."""
    with Stack.running(tmp_path_factory.mktemp("stack"), hooks=HOOKS) as running:
        yield Parts(running)


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root."""
    return Path(__file__).parent.parent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With TWINTALLY_NO_SKIPS, as in CI: a test that did not run is a failure, unless only the kit is absent."""
    if not os.environ.get("TWINTALLY_NO_SKIPS"):
        return
    reasons = {str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])}
    for reason in sorted(reason for reason in reasons if ALLOWED_SKIP not in reason):
        terminalreporter.write_line(f"NOT ALLOWED TO SKIP: {reason}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn such a skip into exit code 1."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("TWINTALLY_NO_SKIPS") or reporter is None:
        return
    if any(ALLOWED_SKIP not in str(report.longrepr) for report in reporter.stats.get("skipped", [])):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
