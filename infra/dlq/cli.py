"""`twintally dlq`: what consumers gave up on, and what becomes of it."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from aiokafka.errors import KafkaError
from pydantic import SecretStr
from rich.console import Console

from infra.dlq.box import LetterBox
from infra.dlq.letters import Letter, named, wanted
from infra.dlq.showing import as_json, details, plain, table_of
from infra.dlq.working import NotDone, Services
from infra.dlq.working import drop as drop_one
from infra.dlq.working import replay as replay_one
from infra.kafka.layout import read_layout
from infra.local.addresses import env_of_running
from shared.kafka.producer import NotSent
from shared.settings import KafkaSettings

app = typer.Typer(help="Dead letters: records that a consumer could not read or work.", no_args_is_help=True)

Topic = Annotated[str | None, typer.Option(help="only letters of this source topic, like usage.v1")]
Consumer = Annotated[str | None, typer.Option(help="only letters of this consumer, like judging.lookups, or service")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="ids, or their beginnings, as `list` shows them")
]
Everything = Annotated[bool, typer.Option("--all", help="every unresolved letter that the filters leave")]
Key = Annotated[str | None, typer.Option("--key", envvar="TWINTALLY_API_KEY", help="an operator's API key")]
T = TypeVar("T")


@app.command("list")
def list_command(
    topic: Topic = None,
    consumer: Consumer = None,
    resolved_too: Annotated[bool, typer.Option("--all", help="also those that were replayed or dropped")] = False,
    to_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """The dead letters that wait for a person; the same failure kept twice is one letter."""
    letters = wanted(_in_box(topic, _letters), topic=topic, consumer=consumer, resolved_too=resolved_too)
    if to_json:
        typer.echo(json.dumps([as_json(letter) for letter in letters], indent=2))
    else:
        Console().print(table_of(letters) if letters else "There are no dead letters.")


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="an id, or its beginning")],
    raw: Annotated[Path | None, typer.Option(help="write the bytes to this file", dir_okay=False)] = None,
) -> None:
    """One dead letter: the error, where from, which consumer failed, and its bytes."""

    async def found(box: LetterBox) -> tuple[Letter, bytes | None]:
        letter = named(await box.letters(), letter_id)
        return letter, await box.value_of(letter)

    letter, value = _in_box(None, found)
    for line in details(letter, value):
        typer.echo(line)
    if raw is not None:
        if value is None:
            _leave("its value is null: there are no bytes to write")
        try:
            raw.write_bytes(value)
        except OSError as error:
            _leave(f"--raw: {error}")
        typer.echo(f"{len(value)} bytes written to {raw}")


@app.command()
def replay(
    ids: Ids = None,
    everything: Everything = False,
    topic: Topic = None,
    consumer: Consumer = None,
    value: Annotated[
        Path | None, typer.Option(help="work the bytes of this file instead; for one ID", exists=True, dir_okay=False)
    ] = None,
    key: Key = None,
) -> None:
    """Have the consumer that failed work its letter again; message key, bytes and event id stay as they were."""
    if value is not None and (everything or len(ids or ()) != 1):
        raise typer.BadParameter("--value goes with exactly one ID")
    instead = value.read_bytes() if value is not None else None
    services = _services(key)

    async def work(box: LetterBox, letter: Letter) -> str:
        return await replay_one(box, services, letter, instead=instead)

    _work_each(ids, everything, topic, consumer, work)


@app.command()
def drop(
    ids: Ids = None,
    everything: Everything = False,
    topic: Topic = None,
    consumer: Consumer = None,
    key: Key = None,
) -> None:
    """Give letters up: they are listed no more, and where one stopped accusations, those go on."""
    services = _services(key)

    async def work(box: LetterBox, letter: Letter) -> str:
        return await drop_one(box, services, letter)

    _work_each(ids, everything, topic, consumer, work)


def _work_each(
    ids: list[str] | None,
    everything: bool,
    topic: str | None,
    consumer: str | None,
    work: Callable[[LetterBox, Letter], Awaitable[str]],
) -> None:
    if everything == bool(ids):
        raise typer.BadParameter("name letters by their ID, or take all with --all")

    async def worked(box: LetterBox) -> int:
        found = await box.letters()
        chosen = {letter.id: letter for letter in (named(found, each) for each in ids or ())}
        letters = list(chosen.values()) or wanted(found, topic=topic, consumer=consumer)
        return sum([not await _work_one(box, letter, work) for letter in letters])

    if _in_box(topic if everything else None, worked):
        raise typer.Exit(1)


async def _work_one(box: LetterBox, letter: Letter, work: Callable[[LetterBox, Letter], Awaitable[str]]) -> bool:
    """Tell what became of one letter; False when it stays."""
    try:
        told = await work(box, letter)
    except (NotDone, LookupError) as error:
        typer.echo(f"{letter.short}  {plain(str(error))}", err=True)
        return False
    typer.echo(f"{letter.short}  {told}")
    return True


async def _letters(box: LetterBox) -> list[Letter]:
    return await box.letters()


def _local() -> dict[str, str]:
    """Where the local stack has everything, when one runs here and the environment names no other broker."""
    return {} if os.environ.get("TWINTALLY_KAFKA") else env_of_running("registry")


def _services(key: str | None) -> Services:
    return Services({**_local(), **os.environ}, SecretStr(key) if key else None)


def _in_box(topic: str | None, use: Callable[[LetterBox], Awaitable[T]]) -> T:
    layout = read_layout()
    if topic is not None and topic not in layout.topics:
        raise typer.BadParameter(f"there is no topic {topic!r}; there are: {', '.join(layout.topics)}")
    topics = list(layout.topics) if topic is None else [topic]
    local = _local()
    address = KafkaSettings(kafka=local["TWINTALLY_KAFKA"]) if local else KafkaSettings.from_environment()

    async def used() -> T:
        async with LetterBox(address, topics, partitions=layout.defaults.dead_letters.partitions) as box:
            return await use(box)

    try:
        return asyncio.run(used())
    except (KafkaError, NotSent, OSError) as error:
        _leave(f"Kafka cannot be used at {address.kafka}: {type(error).__name__}: {error}")
    except (ValueError, LookupError) as error:
        _leave(str(error))


def _leave(reason: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True, highlight=False).print(plain(reason), style="red", markup=False)
    raise typer.Exit(1)
