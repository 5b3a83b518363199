"""Booking periods, the append-only ledger, what is known of each use, and the consumer's offsets."""

from alembic import op

from shared.database.tables import caller_is, outbox_tables, wall

revision = "0001"
down_revision = None

TABLES = """
    create table periods (
        period text primary key,
        time_zone text not null,
        state text not null check (state in ('open', 'closed')),
        opened_at timestamptz not null default clock_timestamp()
    );
    -- One open booking period at a time.
    create unique index periods_open on periods (state) where state = 'open';

    create table transactions (
        transaction_id uuid primary key,
        use_id text not null,
        usage_revision integer not null check (usage_revision > 0),
        line text not null check (line in ('fee', 'reversal')),
        period text not null references periods,
        currency text not null,
        license_id text not null,
        license_version integer not null,
        twin_id text not null,
        platform text not null,
        post_id text not null,
        started_at timestamptz not null,
        occurred_at timestamptz not null,
        corrects uuid unique references transactions,
        booked_at timestamptz not null default clock_timestamp(),
        unique (use_id, usage_revision, line),
        unique (transaction_id, currency, period),
        check ((line = 'reversal') = (corrects is not null))
    );

    -- Whose row an entry is follows from its ledger account, here and not in code: the tenant wall stands on it.
    create table entries (
        transaction_id uuid not null,
        ledger_account text not null check (ledger_account = kind || ':' || payee),
        minor bigint not null,
        currency text not null,
        period text not null,
        kind text not null check (kind in ('payable', 'receivable')),
        payee text not null,
        statement_id uuid not null,
        talent_id text generated always as
            (case when starts_with(ledger_account, 'payable:talent:') then substr(ledger_account, 16) end) stored,
        agency_id text generated always as
            (case when starts_with(ledger_account, 'payable:agency:') then substr(ledger_account, 16) end) stored,
        brand_id text generated always as
            (case when starts_with(ledger_account, 'receivable:brand:') then substr(ledger_account, 18) end) stored,
        primary key (transaction_id, ledger_account),
        foreign key (transaction_id, currency, period) references transactions (transaction_id, currency, period),
        check (num_nonnulls(talent_id, agency_id, brand_id) = 1)
    );
    create index entries_of_statement on entries (statement_id);
    create index entries_of_payee on entries (payee, period);

    create table booked_uses (
        use_id text primary key,
        usage_revision integer not null,
        fee_id uuid references transactions
    );

    create table offsets (
        topic text not null,
        partition integer not null,
        next_offset bigint not null,
        moved_at timestamptz not null default clock_timestamp(),
        primary key (topic, partition)
    );
"""

APPEND_ONLY = """
    create function refuse_change() returns trigger language plpgsql as $$
    begin
        raise exception 'the ledger is append-only: % of % refused; book a correction instead', tg_op, tg_table_name
            using errcode = 'restrict_violation';
    end $$;
    create trigger append_only before update or delete on transactions
        for each row execute function refuse_change();
    create trigger append_only before update or delete on entries
        for each row execute function refuse_change();
    create trigger append_only_whole before truncate on transactions
        for each statement execute function refuse_change();
    create trigger append_only_whole before truncate on entries
        for each statement execute function refuse_change();
    revoke update, delete, truncate on royalty.transactions, royalty.entries from royalty_worker, royalty_api;
"""

# Checked when the transaction commits, whatever wrote the rows.
BALANCE = """
    create function refuse_imbalance() returns trigger language plpgsql as $$
    declare
        found record;
    begin
        select count(*) as entries, coalesce(sum(minor), 0) as total into found
        from royalty.entries where transaction_id = new.transaction_id;
        if found.entries < 2 or found.total <> 0 then
            raise exception 'transaction %: % entries that sum to %; must be two or more that sum to zero',
                new.transaction_id, found.entries, found.total using errcode = 'check_violation';
        end if;
        return null;
    end $$;
    create constraint trigger balances after insert on transactions deferrable initially deferred
        for each row execute function refuse_imbalance();
    create constraint trigger balances after insert on entries deferrable initially deferred
        for each row execute function refuse_imbalance();
"""


def upgrade() -> None:
    op.execute(TABLES)
    everything = "current_setting('twintally.role', true) in ('finance', 'operator')"
    own = " or ".join(caller_is(column) for column in ("talent_id", "agency_id", "brand_id"))
    op.execute(wall("royalty", "entries", api_rows=f"{everything} or {own}", api_may="select"))
    # Who holds an entry of a transaction sees what it was for; of its entries each still sees its own only, because
    # the wall of entries holds inside this condition too.
    seen = "exists (select from royalty.entries as own where own.transaction_id = transactions.transaction_id)"
    op.execute(wall("royalty", "transactions", api_rows=seen, api_may="select"))
    op.execute(wall("royalty", "periods", api_rows="true", api_may="select"))
    op.execute(wall("royalty", "booked_uses", api_rows=None))
    op.execute(wall("royalty", "offsets", api_rows=None))
    op.execute(outbox_tables("royalty"))
    op.execute(APPEND_ONLY)
    op.execute(BALANCE)
