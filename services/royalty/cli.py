"""`twintally statements`: what payees earned, as the royalty service tells it."""

import json
from typing import Annotated, Any, NoReturn

import httpx2
import typer
from rich.console import Console
from rich.table import Table

from shared.money import formatted

app = typer.Typer(help="Statements of payees: what they earned, line by line.", no_args_is_help=True)

Url = Annotated[str, typer.Option(envvar="TWINTALLY_URL_ROYALTY", help="address of the royalty service")]
Key = Annotated[str, typer.Option(envvar="TWINTALLY_API_KEY", help="an API key: finance sees all payees")]
Period = Annotated[str | None, typer.Option(help="a booking period, like 2026-11; all when left out")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]
TIMEOUT_S = 30.0
PAGE = 1000


@app.command("list")
def list_statements(url: Url, key: Key, period: Period = None, as_json: AsJson = False) -> None:
    """Every statement that the API key may see, with its total."""
    with _client(url, key) as client:
        found = _summaries(client, period=period)
    if as_json:
        return typer.echo(json.dumps(found, indent=2))
    table = Table("Period", "Payee", "Kind", "Lines", "Total", "Status", title="Statements")
    for column in (3, 4):
        table.columns[column].justify = "right"
    for each in found:
        total = formatted(each["total_minor"], each["currency"])
        table.add_row(each["period"], each["payee"], each["kind"], str(each["lines"]), total, each["status"])
    return Console().print(table if found else "There are no statements.")


@app.command()
def show(
    payee: Annotated[str, typer.Argument(help="talent:ID, agency:ID, or brand:ID for what a brand owes")],
    url: Url,
    key: Key,
    period: Period = None,
    as_json: AsJson = False,
) -> None:
    """The statements of one payee, line by line."""
    with _client(url, key) as client:
        summaries = _summaries(client, payee=payee, period=period)
        found = [_get(client, f"/v1/statements/{each['statement_id']}") for each in summaries]
    if as_json:
        return typer.echo(json.dumps(found, indent=2))
    if not found:
        _leave(f"No statement of {payee}{f' in {period}' if period else ''}; `twintally statements list` shows all.")
    console = Console()
    for statement in found:
        console.print(_table(statement))
    return None


def _table(statement: dict[str, Any]) -> Table:
    currency = statement["currency"]
    table = Table(
        title=f"{statement['payee']}, {statement['period']}, {statement['status']}",
        caption=f"statement {statement['statement_id']}\n{statement['digest']}",
        show_footer=True,
    )
    table.add_column("Line", footer="Total")
    table.add_column("Amount", footer=formatted(statement["total_minor"], currency), justify="right", no_wrap=True)
    for name in ("License", "Twin", "Post", "Since", "Transaction"):
        table.add_column(name, overflow="fold")
    for line in statement["lines"]:
        table.add_row(
            line["line"],
            formatted(line["minor"], currency),
            f"{line['license_id']} v{line['license_version']}",
            line["twin_id"],
            f"{line['platform']} {line['post_id']}",
            line["started_at"][:10],
            line["transaction_id"],
        )
    return table


def _summaries(client: httpx2.Client, **wanted: str | None) -> list[dict[str, Any]]:
    asked = {name: value for name, value in wanted.items() if value is not None}
    found: list[dict[str, Any]] = []
    while True:
        page = _get(client, "/v1/statements", **asked, limit=str(PAGE), offset=str(len(found)))
        found += page
        if len(page) < PAGE:
            return found


def _get(client: httpx2.Client, path: str, **query: str) -> Any:
    try:
        answer = client.get(path, params=query)
    except httpx2.HTTPError as error:
        _leave(f"The royalty service does not answer at {client.base_url}: {error}. Is it running? Check --url.")
    if answer.status_code != 200:
        _leave(f"The royalty service refused ({answer.status_code}): {_detail(answer)}")
    return answer.json()


def _detail(answer: httpx2.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]
    return detail if isinstance(detail, str) else json.dumps(detail)


def _client(url: str, key: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S)


def _leave(reason: str) -> NoReturn:
    Console(stderr=True).print(f"[red]{reason}[/]", soft_wrap=True)
    raise typer.Exit(1)
