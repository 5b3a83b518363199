"""The ledger on real PostgreSQL: fenced, append-only, walled, and stated the same every time."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import httpx2
import psycopg
import pytest

from services.royalty.api import build_app
from services.royalty.offsets import StoredOffsets
from services.royalty.reports import LedgerReports
from services.royalty.store import open_first_period
from services.royalty.worker import UsageWorker
from shared.access import Caller
from shared.database import Database, every, one
from shared.events import Entry, UsageState
from shared.ids import canonical_json, digest_of
from shared.kafka import Record
from shared.kafka.batches import Patience
from shared.kafka.consuming import Fenced
from tests.royalty_builders import a_record, a_usage, split

AT_ONCE = Patience(first_pause_s=0.0)


@dataclass(frozen=True)
class Parties:
    """Parties of one test only, so that tests share a ledger and not their money."""

    name: str

    def usage(self, revision: int = 1, *, use: int = 1, **changed) -> UsageState:
        shares = split(**{f"talent:t-{self.name}": 8_000, f"agency:a-{self.name}": 2_000})
        own = {"use_id": f"use-{self.name}-{use}", "brand_id": f"b-{self.name}", "split": shares}
        return a_usage(revision, **(own | changed))

    def caller(self, role: str, *, livemode: bool = True) -> Caller:
        tenant = {"talent": "t", "agency": "a", "brand": "b"}.get(role)
        return Caller("key", role, f"{tenant}-{self.name}" if tenant else None, livemode)  # type: ignore[arg-type]


class KeptLetters:
    """Dead letters in a list."""

    def __init__(self) -> None:
        self.kept: list[tuple[Record, BaseException]] = []

    async def keep(self, record, *, error, attempts):
        self.kept.append((record, error))


class Worker:
    """One royalty process on one partition, as the consumer drives it."""

    def __init__(self, database: Database, partition: int) -> None:
        self.letters = KeptLetters()
        self.partition = partition
        self.offsets = StoredOffsets(database)
        self._worker = UsageWorker(self.offsets, self.letters, booked=lambda: None, patience=AT_ONCE)

    async def assigned(self) -> int:
        return (await self.offsets.read([("usage.v1", self.partition)]))["usage.v1", self.partition]

    async def takes(self, *usages: UsageState | bytes | None, at: int = 0) -> None:
        await self._worker.handle([self._record(usage, at + number) for number, usage in enumerate(usages)])

    def _record(self, usage: UsageState | bytes | None, offset: int) -> Record:
        if usage is None or isinstance(usage, bytes):
            return Record("usage.v1", self.partition, offset, b"poison", usage)
        return a_record(usage, offset, partition=self.partition)


@pytest.fixture(scope="session")
async def ledger(stack) -> AsyncIterator[Database]:
    database = Database(stack.database_for("royalty_worker"), "royalty")
    await database.open()
    await open_first_period(database, "2026-11", time_zone="UTC")
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def requests(stack) -> AsyncIterator[Database]:
    database = Database(stack.database_for("royalty_api"), "royalty")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def parties() -> Parties:
    return Parties(uuid4().hex[:10])


@pytest.fixture
def partition() -> int:
    """A partition that no other test moves."""
    return random.randrange(1_000, 2**31)


@pytest.fixture
async def worker(ledger, partition) -> Worker:
    worker = Worker(ledger, partition)
    await worker.assigned()
    return worker


@pytest.fixture
def client_of(requests):
    """An HTTP client that calls as this caller."""

    def client(caller: Caller) -> httpx2.AsyncClient:
        class Keys:
            async def caller_of(self, api_key):
                return caller

        transport = httpx2.ASGITransport(app=build_app(LedgerReports(requests), Keys()))
        return httpx2.AsyncClient(transport=transport, base_url="http://royalty", headers={"Authorization": "Bearer k"})

    return client


async def booked(ledger: Database, parties: Parties) -> list[tuple[int, str]]:
    """(revision, line) of every transaction of these parties, in the order of booking."""
    async with ledger.transaction() as connection:
        rows = await every(
            connection,
            "select usage_revision, line from transactions where starts_with(use_id, %s)"
            " order by usage_revision, line desc, use_id",
            (f"use-{parties.name}",),
        )
    return [(row["usage_revision"], row["line"]) for row in rows]


async def stored(ledger: Database, partition: int) -> int:
    return (await StoredOffsets(ledger).read([("usage.v1", partition)]))["usage.v1", partition]


# -- booking


async def test_a_batch_is_booked_with_its_offset_and_its_events(ledger, worker, parties):
    await worker.takes(parties.usage(1), parties.usage(2, fee=500), parties.usage(2, fee=500), at=0)
    assert await booked(ledger, parties) == [(1, "fee"), (2, "reversal"), (2, "fee")]
    assert await stored(ledger, worker.partition) == 3
    async with ledger.transaction() as connection:
        rows = await every(
            connection,
            "select event_id, topic from outbox where event_id in"
            " (select transaction_id from transactions where use_id = %s)",
            (parties.usage().use_id,),
        )
    assert [row["topic"] for row in rows] == ["royalties.v1"] * 3


async def test_what_came_before_is_corrected_in_a_later_batch(ledger, worker, parties):
    await worker.takes(parties.usage(1))
    await worker.takes(parties.usage(2, license_version=2), at=1)
    await worker.takes(parties.usage(3, status="void"), parties.usage(1), at=2)
    assert await booked(ledger, parties) == [(1, "fee"), (2, "reversal"), (2, "fee"), (3, "reversal")]


async def test_sandbox_usage_moves_the_offset_and_nothing_else(ledger, worker, parties):
    await worker.takes(parties.usage(livemode=False))
    assert await booked(ledger, parties) == []
    assert await stored(ledger, worker.partition) == 1


async def test_a_poison_record_goes_to_the_dead_letters_and_never_comes_back(ledger, worker, parties):
    beyond_bigint = parties.usage(use=3, fee=10**30)
    await worker.takes(parties.usage(use=1), b"not json", beyond_bigint, parties.usage(use=2))
    assert [record.offset for record, _ in worker.letters.kept] == [1, 2]
    assert await booked(ledger, parties) == [(1, "fee"), (1, "fee")]
    assert await stored(ledger, worker.partition) == 4


async def test_a_null_is_poison_because_usage_is_kept_for_ever(ledger, worker, parties):
    await worker.takes(parties.usage(), None, parties.usage(use=2))
    assert [record.value for record, _ in worker.letters.kept] == [None]
    assert await booked(ledger, parties) == [(1, "fee"), (1, "fee")]


async def test_two_workers_that_read_new_partitions_in_other_orders_do_not_wait_for_each_other(ledger):
    first = random.randrange(1_000, 2**30)
    partitions = [("usage.v1", first + number) for number in range(20_000)]
    ends = await asyncio.gather(
        *(StoredOffsets(ledger).read(several) for several in (partitions, partitions[::-1])), return_exceptions=True
    )
    assert [len(end) if isinstance(end, dict) else end for end in ends] == [20_000, 20_000]


async def test_a_poison_record_at_the_end_of_a_partition_is_passed_too(ledger, worker, parties):
    await worker.takes(parties.usage(), b"\xff")
    assert await Worker(ledger, worker.partition).assigned() == 2


# -- the fence


async def test_two_workers_that_both_believe_to_own_a_partition_book_it_once(ledger, partition, parties):
    workers = [Worker(ledger, partition), Worker(ledger, partition)]
    for each in workers:
        await each.assigned()
    usages = [parties.usage(use=use) for use in range(20)]
    ends = await asyncio.gather(*(each.takes(*usages) for each in workers), return_exceptions=True)
    assert sorted(type(end) for end in ends if end is not None) == [Fenced]
    assert await booked(ledger, parties) == [(1, "fee")] * 20
    assert await stored(ledger, partition) == 20


async def test_a_paused_worker_that_wakes_after_its_partition_was_taken_is_fenced(ledger, partition, parties):
    paused, successor = Worker(ledger, partition), Worker(ledger, partition)
    await paused.assigned()
    await successor.assigned()
    await successor.takes(parties.usage(use=1), b"poison")
    for batch in ([parties.usage(use=1), b"poison"], [b"poison"]):
        with pytest.raises(Fenced):
            await paused.takes(*batch)
    assert paused.letters.kept == []
    assert await paused.assigned() == 2
    await paused.takes(parties.usage(use=2), at=2)
    with pytest.raises(Fenced):
        await successor.takes(parties.usage(use=2), at=2)
    assert await booked(ledger, parties) == [(1, "fee"), (1, "fee")]


async def test_a_worker_fenced_between_its_dead_letter_and_the_move_does_not_go_on(ledger, partition, parties):
    slow, quick = Worker(ledger, partition), Worker(ledger, partition)
    await slow.assigned()
    await quick.assigned()
    keep = slow.letters.keep

    async def keep_while_overtaken(record, *, error, attempts):
        await keep(record, error=error, attempts=attempts)
        await quick.takes(b"poison")

    slow.letters.keep = keep_while_overtaken
    with pytest.raises(Fenced):
        await slow.takes(b"poison", parties.usage())
    assert await stored(ledger, partition) == 1


async def test_a_batch_that_begins_elsewhere_is_believed_only_when_it_comes_again(ledger, worker, parties):
    with pytest.raises(Fenced):
        await worker.takes(parties.usage(), at=7)
    await worker.assigned()
    await worker.takes(parties.usage(), at=7)
    assert await stored(ledger, worker.partition) == 8


async def test_a_batch_before_anything_was_read_is_fenced(ledger, partition, parties):
    with pytest.raises(Fenced):
        await Worker(ledger, partition).takes(parties.usage())


async def test_an_effect_that_fails_leaves_the_offset_where_it_was(ledger, worker, parties):
    with pytest.raises(RuntimeError):
        async with worker.offsets.moved_past([a_record(parties.usage(), partition=worker.partition)]):
            raise RuntimeError("the disk is full")
    assert await stored(ledger, worker.partition) == 0
    await worker.takes(parties.usage())


# -- append-only, balanced, unique


@pytest.mark.parametrize("table", ["transactions", "entries"])
async def test_no_role_may_change_the_ledger_and_a_trigger_refuses_its_owner(stack, ledger, worker, parties, table):
    await worker.takes(parties.usage())
    column = "currency"
    for statement in (f"update {table} set {column} = {column}", f"delete from {table}", f"truncate {table} cascade"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with ledger.transaction() as connection:
                await connection.execute(statement)
        async with await psycopg.AsyncConnection.connect(stack.database) as owner:
            with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
                await owner.execute(statement.replace(table, f"royalty.{table}"))
    async with await psycopg.AsyncConnection.connect(stack.database) as owner:
        rows = await owner.execute(
            "select distinct privilege_type from information_schema.role_table_grants"
            " where table_schema = 'royalty' and table_name = %s and grantee <> 'postgres'",
            (table,),
        )
        assert {row[0] for row in await rows.fetchall()} == {"SELECT", "INSERT"}


INSERT = (
    "insert into transactions (transaction_id, use_id, usage_revision, line, period, currency, license_id,"
    " license_version, twin_id, platform, post_id, started_at, occurred_at, corrects)"
    " select %(new)s, use_id, usage_revision + %(later)s, %(line)s, period, currency, license_id, license_version,"
    " twin_id, platform, post_id, started_at, occurred_at, %(corrects)s"
    " from transactions where transaction_id = %(old)s"
)


async def fee_of(ledger: Database, parties: Parties) -> str:
    async with ledger.transaction() as connection:
        row = await one(
            connection, "select transaction_id from transactions where use_id = %s", (parties.usage().use_id,)
        )
    assert row is not None
    return row["transaction_id"]


async def test_a_second_fee_of_the_same_revision_is_refused(ledger, worker, parties):
    await worker.takes(parties.usage())
    again = {"new": uuid4(), "later": 0, "line": "fee", "corrects": None, "old": await fee_of(ledger, parties)}
    with pytest.raises(psycopg.errors.UniqueViolation, match="use_id"):
        async with ledger.transaction() as connection:
            await connection.execute(INSERT, again)


async def test_a_fee_is_taken_back_once(ledger, worker, parties):
    await worker.takes(parties.usage(), parties.usage(2, status="void"))
    async with ledger.transaction() as connection:
        row = await one(
            connection,
            "select corrects from transactions where use_id = %s and line = 'reversal'",
            (parties.usage().use_id,),
        )
    again = {"new": uuid4(), "later": 5, "line": "reversal", "corrects": row["corrects"], "old": row["corrects"]}
    with pytest.raises(psycopg.errors.UniqueViolation, match="corrects"):
        async with ledger.transaction() as connection:
            await connection.execute(INSERT, again)


async def test_a_transaction_that_does_not_balance_cannot_commit(ledger, worker, parties):
    await worker.takes(parties.usage())
    new = {"new": uuid4(), "later": 1, "line": "fee", "corrects": None, "old": await fee_of(ledger, parties)}
    with pytest.raises(psycopg.errors.CheckViolation, match="sum to zero"):
        async with ledger.transaction() as connection:
            await connection.execute(INSERT, new)
    with pytest.raises(psycopg.errors.CheckViolation, match="sum to zero"):
        async with ledger.transaction() as connection:
            await connection.execute(
                "insert into entries (transaction_id, ledger_account, minor, currency, period, kind, payee,"
                " statement_id) select transaction_id, 'payable:talent:thief', -1, currency, period, 'payable',"
                " 'talent:thief', gen_random_uuid() from transactions where transaction_id = %s",
                (new["old"],),
            )


# -- periods


async def test_a_booking_waits_for_who_closes_its_period_and_lands_in_the_next(stack, ledger, worker, parties):
    async with await psycopg.AsyncConnection.connect(stack.database) as closing:
        row = await (
            await closing.execute("select period from royalty.periods where state = 'open' for update")
        ).fetchone()
        booking = asyncio.create_task(worker.takes(parties.usage()))
        await asyncio.sleep(0.3)
        assert not booking.done()
        await closing.execute("update royalty.periods set state = 'closed' where period = %s", row)
        await closing.execute(
            "insert into royalty.periods (period, time_zone, state) values ('2099-01', 'UTC', 'open')"
        )
        await closing.commit()
        try:
            await booking
            async with ledger.transaction() as connection:
                found = await one(
                    connection, "select period from transactions where use_id = %s", (parties.usage().use_id,)
                )
            assert found["period"] == "2099-01"
        finally:
            await closing.execute("update royalty.periods set state = 'closed' where period = '2099-01'")
            await closing.execute("update royalty.periods set state = 'open' where period = %s", row)


async def test_starting_again_opens_no_second_period(ledger):
    known = await open_first_period(ledger, "2031-05", time_zone="UTC")
    assert known != "2031-05"


# -- what callers see


async def test_a_statement_is_derived_anew_to_the_same_byte(ledger, worker, parties, client_of):
    await worker.takes(*(parties.usage(use=use, fee=1_000 + use) for use in range(5)))
    await worker.takes(parties.usage(2, use=3, status="void"), at=5)
    async with client_of(parties.caller("talent")) as client:
        (summary,) = (await client.get("/v1/statements")).json()
        first = await client.get(f"/v1/statements/{summary['statement_id']}")
        await worker.takes(parties.usage(use=9, split=split(**{"talent:somebody-else": 10_000})), at=6)
        second = await client.get(f"/v1/statements/{summary['statement_id']}")
    assert first.content == second.content
    told = first.json()
    digest = told.pop("digest")
    assert told.pop("status") == "draft"
    assert digest_of(canonical_json(told).encode()) == digest
    assert told["total_minor"] == summary["total_minor"] == 800 + 801 + 802 + 803
    assert summary["lines"] == len(told["lines"]) == 6


async def test_each_payee_sees_its_own_statement_and_the_brand_what_it_owes(worker, parties, client_of):
    await worker.takes(parties.usage(fee=10_000))
    for role, kind, total in (
        ("talent", "payable", 8_000),
        ("agency", "payable", 2_000),
        ("brand", "receivable", 10_000),
    ):
        async with client_of(parties.caller(role)) as client:
            (summary,) = (await client.get("/v1/statements")).json()
        assert (summary["kind"], summary["total_minor"]) == (kind, total)
        assert summary["payee"] == f"{role}:{parties.caller(role).tenant_id}"


async def test_finance_sees_all_payees_and_finds_one_by_name(worker, parties, client_of):
    await worker.takes(parties.usage())
    async with client_of(Caller("key", "finance", None, True)) as client:
        everyone = (await client.get("/v1/statements")).json()
        one_payee = (await client.get("/v1/statements", params={"payee": f"talent:t-{parties.name}"})).json()
        none = (await client.get("/v1/statements", params={"period": "1999-01"})).json()
    assert {f"{role}:{role[0]}-{parties.name}" for role in ("talent", "agency", "brand")} <= {
        each["payee"] for each in everyone
    }
    assert [each["total_minor"] for each in one_payee] == [8_000]
    assert none == []


async def test_a_payee_sees_of_a_transaction_its_own_entry_only(ledger, worker, parties, client_of):
    await worker.takes(parties.usage())
    path = f"/v1/transactions/{await fee_of(ledger, parties)}"
    async with client_of(parties.caller("talent")) as client:
        told = (await client.get(path)).json()
    assert told["entries"] == [Entry(ledger_account=f"payable:talent:t-{parties.name}", minor=-8_000).model_dump()]
    assert told["use_id"] == parties.usage().use_id
    async with client_of(Caller("key", "operator", None, True)) as client:
        assert len((await client.get(path)).json()["entries"]) == 3


async def test_the_transactions_of_a_use_are_told_as_booked_and_to_each_its_own(worker, parties, client_of):
    await worker.takes(parties.usage(1))
    await worker.takes(parties.usage(2, license_version=2), at=1)
    asked = {"use_id": parties.usage().use_id}
    async with client_of(Caller("key", "operator", None, True)) as client:
        told = (await client.get("/v1/transactions", params=asked)).json()
        assert (await client.get("/v1/transactions", params={"use_id": "another"})).json() == []
        assert (await client.get("/v1/transactions")).status_code == 422
    lines = [(each["usage_revision"], each["line"], len(each["entries"])) for each in told]
    assert lines == [(1, "fee", 3), (2, "reversal", 3), (2, "fee", 3)]
    async with client_of(parties.caller("talent")) as client:
        own = (await client.get("/v1/transactions", params=asked)).json()
    accounts = {entry["ledger_account"] for each in own for entry in each["entries"]}
    assert accounts == {f"payable:talent:t-{parties.name}"}
    for stranger in (Parties("stranger").caller("talent"), parties.caller("agency", livemode=False)):
        async with client_of(stranger) as client:
            assert (await client.get("/v1/transactions", params=asked)).json() == []


async def test_a_foreign_id_is_not_found(ledger, worker, parties, client_of):
    await worker.takes(parties.usage())
    async with client_of(parties.caller("agency")) as client:
        (theirs,) = (await client.get("/v1/statements")).json()
    transaction = await fee_of(ledger, parties)
    strangers = [Parties("stranger").caller(role) for role in ("talent", "agency", "brand")]
    # The same id under another role is another tenant; a sandbox key sees no live money; a key without tenant, nothing.
    strangers += [
        Caller("key", "talent", f"a-{parties.name}", True),
        parties.caller("agency", livemode=False),
        Caller("key", "finance", None, False),
        Caller("key", "agency", None, True),
    ]
    for stranger in strangers:
        async with client_of(stranger) as client:
            assert (await client.get("/v1/statements")).json() == []
            assert (await client.get(f"/v1/statements/{theirs['statement_id']}")).status_code == 404
            assert (await client.get(f"/v1/transactions/{transaction}")).status_code == 404


async def test_the_api_role_sees_nothing_when_nobody_said_who_calls(requests, worker, parties):
    await worker.takes(parties.usage())
    async with requests.transaction() as connection:
        assert await every(connection, "select from entries") == []
        assert await every(connection, "select from transactions") == []
    for table in ("booked_uses", "offsets", "outbox"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with requests.transaction() as connection:
                await every(connection, f"select from {table}")


async def test_the_ledger_balances_and_only_finance_and_the_operator_may_ask(worker, parties, client_of):
    await worker.takes(parties.usage(fee=333, currency="CHF"), parties.usage(2, fee=77, currency="JPY"))
    for role in ("finance", "operator"):
        async with client_of(Caller("key", role, None, True)) as client:
            told = (await client.get("/v1/ledger/balance")).json()
        assert told["balanced"] is True
        by_currency = {each["currency"]: each for each in told["currencies"]}
        assert by_currency["CHF"]["debits_minor"] == by_currency["CHF"]["credits_minor"] > 0
    async with client_of(parties.caller("agency")) as client:
        assert (await client.get("/v1/ledger/balance")).status_code == 403


async def test_malformed_questions_are_refused_by_field(client_of):
    async with client_of(Caller("key", "finance", None, True)) as client:
        for path, field in (
            ("/v1/statements?period=November", "period"),
            ("/v1/statements?payee=t1", "payee"),
            ("/v1/statements/not-an-id", "statement_id"),
            ("/v1/transactions/not-an-id", "transaction_id"),
            ("/v1/statements?payee=agency:%00", "payee"),
            ("/v1/statements?offset=99999999999999999999", "offset"),
        ):
            answer = await client.get(path)
            assert answer.status_code == 422
            assert answer.json()["detail"][0]["loc"][-1] == field
    async with client_of(Caller("key", "platform", "instagram", True)) as client:
        assert (await client.get("/v1/statements")).status_code == 403
