"""Two processes of every service on real parts, with what surrounds them, and all parties registered."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from infra.demo import setting
from infra.demo.cast import REFERENCES_PER_TWIN, Cast
from infra.demo.gallery import reference_path
from infra.demo.house import House
from infra.demo.stage import SURROUNDINGS, Addresses
from infra.local.ports import HOST, choose_ports
from infra.local.services import SERVICES as SERVICE_TABLE
from infra.local.services import Service, second
from infra.local.stack import Stack
from tests.chaos.door import Door, door_to
from tests.chaos.tale import PICTURES_PER_TWIN, STRANGERS, TWINS, chaos_cast
from tests.conftest import HOOKS
from tests.system.conftest import bootstrap
from tests.system.pictures import cropped, draw, jpeg

SERVICES = ("intake", "registry", "matching", "judging", "alerts", "royalty")
SIZE = (480, 600)


@dataclass(frozen=True)
class Arena:
    """The running house, and who plays. Without second processes the first ones stand for both."""

    stack: Stack
    house: House
    house_of_seconds: House
    cast: Cast
    now: datetime
    at: Addresses
    published: Path
    doors: Mapping[str, Door]

    @property
    def workers(self) -> tuple[str, ...]:
        """Every process of every service."""
        return tuple(each.name for each in self.stack.settings.services if each.name != SURROUNDINGS)


TWO_OF_EACH = tuple(each for name in SERVICES for each in (SERVICE_TABLE[name], second(name)))


@contextmanager
def arena_in(folder: Path, services: tuple[Service, ...] = TWO_OF_EACH, *, doors: bool = False) -> Iterator[Arena]:
    """Draw, start, register; everything is stopped afterwards. With `doors` a door stands before all that is called."""
    references, published = folder / "references", folder / "published"
    for each in (references, published):
        each.mkdir(parents=True)
    draw_all(references, published)
    with ExitStack() as open_until_end:
        inside = choose_ports(("kafka", "postgres", "valkey", "images", "stalling", "receiver"), {})
        before = {name: open_until_end.enter_context(door_to(port)) for name, port in inside.items()} if doors else {}
        outside = {name: door.port for name, door in before.items()} or inside
        yield open_until_end.enter_context(_arena(folder, services, inside, outside, before))


@contextmanager
def _arena(
    folder: Path,
    services: tuple[Service, ...],
    inside: Mapping[str, int],
    outside: Mapping[str, int],
    doors: Mapping[str, Door],
) -> Iterator[Arena]:
    references, published = folder / "references", folder / "published"
    at = Addresses(**{name: outside[name] for name in ("images", "stalling", "receiver")})
    with Stack.running(
        folder / "stack",
        services=(*services, _surroundings(inside, published)),
        hooks=HOOKS,
        env=_env(at),
        before={name: outside[name] for name in ("kafka", "postgres", "valkey")} if doors else {},
        ports={name: inside[name] for name in ("kafka", "postgres", "valkey")},
    ) as stack:
        now = datetime.now(UTC).replace(microsecond=0)
        names = (*SERVICES, SURROUNDINGS)
        house = House(
            urls={name: stack.url(name) for name in names},
            operator_key=bootstrap(stack, folder),
            control_url=stack.url(SURROUNDINGS),
            receiver_url=f"http://{HOST}:{at.receiver}",
        )
        seconds = {each.service: stack.url(each.name) for each in services}
        other = replace(house, urls={**house.urls, **seconds})
        arena = Arena(stack, house, other, chaos_cast(now), now, at, published, doors)
        register(arena, references)
        yield arena
        house.close()
        other.close()


def register(arena: Arena, references: Path) -> None:
    """All that stands before the first post."""
    setting.set_parties(arena.house, arena.cast)
    setting.set_references(arena.house, arena.cast, references, lambda _done, _total: None)
    setting.set_licenses(arena.house, arena.cast)
    setting.set_endpoints(arena.house, arena.cast)


def draw_all(references: Path, published: Path) -> None:
    """References of every twin, and edits of them to publish; pictures of nobody besides."""
    for at, twin in enumerate(TWINS):
        drawn = [draw(1_000 * (at + 1) + number, SIZE) for number in range(REFERENCES_PER_TWIN)]
        for number, image in enumerate(drawn):
            reference_path(references, twin, number).write_bytes(jpeg(image, 92))
        for number in range(PICTURES_PER_TWIN):
            image = _edited(drawn[number % REFERENCES_PER_TWIN], number)
            (published / f"{twin}-{number}.jpg").write_bytes(jpeg(image, 70 + number))
    for number in range(STRANGERS):
        (published / f"nobody-{number}.jpg").write_bytes(jpeg(draw(90_000 + number, SIZE)))


def _edited(image: Image.Image, number: int) -> Image.Image:
    return cropped(image, 0.85) if number >= REFERENCES_PER_TWIN else image


def _surroundings(ports_of: Mapping[str, int], published: Path) -> Service:
    argv = (sys.executable, "-m", "infra.demo.surroundings", "--pictures", str(published.absolute()))
    ports = tuple(f"--{name}={ports_of[name]}" for name in ("images", "stalling", "receiver"))
    return Service(SURROUNDINGS, (*argv, *ports), has_schema=False)


def _env(at: Addresses) -> dict[str, str]:
    return {
        "TWINTALLY_MEDIA_ALLOWED_ADDRESSES": f"{HOST}:{at.images},{HOST}:{at.stalling}",
        "TWINTALLY_ALERTS_ALLOWED_ADDRESSES": f"{HOST}:{at.receiver}",
        # Who was handled when is read from the logs.
        "TWINTALLY_LOG_LEVEL": "DEBUG",
        "TWINTALLY_IMAGE_THREADS": "1",
    }


def commit_of(project: Path) -> str:
    """The commit that is tested; a mark when files differ from it."""

    def git(*words: str) -> str:
        done: Any = subprocess.run(("git", *words), cwd=project, capture_output=True, text=True, check=False)
        return str(done.stdout).strip()

    return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain") else "")
