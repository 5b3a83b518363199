"""`twintally topics`: make a cluster agree with topics.yaml, and print the ACLs that it needs."""

import asyncio
from typing import Annotated, get_args

import typer
from aiokafka.errors import KafkaError
from rich.console import Console

from infra.kafka.applying import apply
from infra.kafka.layout import Grant, Profile, grants, read_layout, wanted_topics
from shared.settings import KafkaSettings

app = typer.Typer(help="The topics of the Kafka cluster.", no_args_is_help=True)


@app.command("apply")
def apply_command(
    profile: Annotated[str, typer.Option(help="production: 3 copies, 2 in sync; local: 1")] = "production",
) -> None:
    """Create the topics of topics.yaml that the cluster lacks, and set the configuration of all."""
    console = Console(soft_wrap=True, highlight=False)
    if profile not in get_args(Profile):
        raise typer.BadParameter("must be production or local")
    wanted = wanted_topics(read_layout(), profile)  # type: ignore[arg-type]
    try:
        outcome = asyncio.run(apply(KafkaSettings.from_environment(), wanted))
    except (KafkaError, OSError) as error:
        console.print(f"[red]The topics could not be applied:[/] {type(error).__name__}: {error}")
        raise typer.Exit(1) from error
    for line in outcome.changed:
        console.print(line, markup=False)
    for line in outcome.problems:
        console.print(line, markup=False, style="red")
    if outcome.problems:
        console.print(f"[red]The cluster does not agree with topics.yaml:[/] {len(outcome.problems)} problems")
        raise typer.Exit(1)
    there = len(wanted) - len(outcome.created)
    console.print(
        f"{len(outcome.created)} topics created, {there} were there, {len(outcome.changed)} settings changed;"
        f" all agree with topics.yaml ({profile})"
    )


@app.command("acls")
def acls_command(
    command_config: Annotated[
        str, typer.Option(help="the file with the credentials of a user who may change ACLs")
    ] = "admin.properties",
) -> None:
    """Print the kafka-acls.sh commands that allow each service what topics.yaml gives it; the rest is denied."""
    for grant in grants(read_layout()):
        typer.echo(command_of(grant, command_config))


def command_of(grant: Grant, command_config: str) -> str:
    """A grant as a line of a shell script; TWINTALLY_KAFKA names the cluster, as for all our commands."""
    operations = " ".join(f"--operation {operation}" for operation in grant.operations)
    return (
        f'kafka-acls.sh --bootstrap-server "$TWINTALLY_KAFKA" --command-config {command_config} --add'
        f" --allow-principal User:{grant.name} {operations} --{grant.kind} {grant.resource}"
    )
