"""Which table keeps which kind of thing, and how its parts in other tables are read and written."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import BaseModel, TypeAdapter

from services.registry.domain import Agency, ApiKey, Brand, Kept, Reference, Talent, Twin
from services.registry.licensing import Consent, KeptCard, License
from shared.database import Connection

Thing = TypeVar("Thing", bound=Kept)

WriteParts = Callable[[Connection, Any], Awaitable[None]]

ACCOUNTS = """coalesce((
    select jsonb_agg(jsonb_build_object('platform', platform, 'account', account) order by platform, account)
    from brand_accounts as part where part.brand_id = thing.brand_id), '[]')"""
REPRESENTED = """coalesce((
    select jsonb_agg(jsonb_build_object('agency_id', agency_id, 'from', valid_from, 'until', valid_until)
        order by valid_from)
    from representations as part where part.talent_id = thing.talent_id), '[]')"""
VERSIONS = """coalesce((
    select jsonb_agg(jsonb_build_object('version', version, 'effective_from', effective_from, 'scope', scope,
        'rate_card', rate_card, 'split', split) order by version)
    from license_versions as part where part.license_id = thing.license_id), '[]')"""


@dataclass(frozen=True)
class Shelf(Generic[Thing]):
    """The table of one kind; `part`, if any, is a field that other tables hold, with the query that reads it.

    All names here are constants of this module: nothing of a request becomes part of a statement's text.
    """

    kind: type[Thing]
    table: str
    key: str
    filters: tuple[str, ...] = ()
    part: tuple[str, str] | None = None
    write_part: WriteParts | None = None

    @property
    def columns(self) -> list[str]:
        """The fields that are columns of the table."""
        return [each.name for each in fields(self.kind) if self.part is None or each.name != self.part[0]]

    @property
    def select(self) -> str:
        """The beginning of each query; the table is named `thing`."""
        part = "" if self.part is None else f", {self.part[1]} as {self.part[0]}"
        return f"select thing.*{part} from {self.table} as thing"  # noqa: S608

    @property
    def insert(self) -> str:
        """Puts a row in; gives its id back, or nothing when a unique index knows it already."""
        names = [*self.columns, "request_digest"]
        values = ", ".join(f"%({name})s" for name in names)
        return (
            f"insert into {self.table} ({', '.join(names)}) values ({values})"  # noqa: S608
            f" on conflict do nothing returning {self.key}"
        )

    @property
    def update(self) -> str:
        """Writes all columns of a row anew."""
        names = ", ".join(f"{name} = %({name})s" for name in self.columns if name != self.key)
        return f"update {self.table} set {names} where {self.key} = %({self.key})s"  # noqa: S608

    def row_of(self, thing: Thing) -> dict[str, Any]:
        """The columns of a thing, as psycopg takes them."""
        return {name: _stored(getattr(thing, name)) for name in self.columns}

    def thing_of(self, row: DictRow) -> Thing:
        """The thing in a row of `select`."""
        thing: Thing = _READERS[self.kind].validate_python(row)
        return thing


async def _write_accounts(connection: Connection, brand: Brand) -> None:
    await connection.execute("delete from brand_accounts where brand_id = %s", (brand.brand_id,))
    for each in brand.accounts:
        await connection.execute(
            "insert into brand_accounts (livemode, platform, account, brand_id) values (%s, %s, %s, %s)",
            (brand.livemode, each.platform, each.account, brand.brand_id),
        )


async def _write_represented(connection: Connection, talent: Talent) -> None:
    for each in talent.represented:
        await connection.execute(
            "insert into representations (talent_id, agency_id, valid_from, valid_until) values (%s, %s, %s, %s)"
            " on conflict do nothing",
            (talent.talent_id, each.agency_id, each.from_, each.until),
        )


def _stored(value: Any) -> Any:
    return Jsonb(value.model_dump(mode="json")) if isinstance(value, BaseModel) else value


SHELVES: dict[type[Kept], Shelf[Any]] = {
    shelf.kind: shelf
    for shelf in (
        Shelf(Agency, "agencies", "agency_id"),
        Shelf(Brand, "brands", "brand_id", (), ("accounts", ACCOUNTS), _write_accounts),
        Shelf(Talent, "talents", "talent_id", ("agency_id",), ("represented", REPRESENTED), _write_represented),
        Shelf(Twin, "twins", "twin_id", ("talent_id", "agency_id")),
        Shelf(Reference, "image_references", "reference_id", ("twin_id", "status", "image_digest")),
        Shelf(KeptCard, "rate_cards", "rate_card_id"),
        # The versions of a license are written by Desk.append_version only.
        Shelf(License, "licenses", "license_id", ("twin_id", "brand_id"), ("versions", VERSIONS)),
        Shelf(Consent, "consents", "consent_id", ("twin_id", "talent_id")),
        Shelf(ApiKey, "api_keys", "api_key_id", ("role", "tenant_id", "status")),
    )
}
_READERS: dict[type[Kept], TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in SHELVES}
