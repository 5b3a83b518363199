"""Parties, references, rate cards, licenses, consents and API keys, with the wall between tenants and modes."""

from alembic import op

from shared.database.tables import OPERATOR, caller_is, outbox_tables, wall

revision = "0001"
down_revision = None

# `request_digest` tells a repeated request from another one under the same idempotency key.
KEPT = """
    livemode boolean not null,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    request_digest text not null
"""

PARTIES = f"""
    create table agencies (agency_id text primary key, name text not null, {KEPT});

    create table brands (brand_id text primary key, name text not null, {KEPT});
    -- An account speaks for one brand.
    create table brand_accounts (
        livemode boolean not null,
        platform text not null,
        account text not null,
        brand_id text not null references brands,
        primary key (livemode, platform, account)
    );
    create index brand_accounts_of_brand on brand_accounts (brand_id);

    create table talents (
        talent_id text primary key,
        agency_id text not null references agencies,
        name text not null,
        {KEPT}
    );
    create index talents_of_agency on talents (agency_id);
    create table representations (
        talent_id text not null references talents,
        agency_id text not null references agencies,
        valid_from timestamptz not null,
        valid_until timestamptz check (valid_until > valid_from),
        primary key (talent_id, valid_from)
    );

    create table twins (
        twin_id text primary key,
        talent_id text not null references talents,
        agency_id text not null references agencies,
        name text not null,
        {KEPT}
    );
    create index twins_of_talent on twins (talent_id);
    create index twins_of_agency on twins (agency_id);
"""

REFERENCES = f"""
    create table image_references (
        reference_id text primary key,
        twin_id text not null references twins,
        talent_id text not null references talents,
        agency_id text not null references agencies,
        status text not null check (status in ('active', 'withdrawn')),
        image_digest text not null,
        image_type text not null,
        image_bytes integer not null,
        width_px integer not null,
        height_px integer not null,
        algorithm text not null,
        fingerprint bytea not null,
        {KEPT},
        check ((status = 'withdrawn') = (length(fingerprint) = 0))
    );
    create index image_references_of_twin on image_references (twin_id);
    create index image_references_of_agency on image_references (agency_id);
    -- One picture shows one twin, whichever agency registers it: an index sees across the wall between tenants.
    create unique index image_references_once on image_references (livemode, image_digest) where status = 'active';
"""

LICENSES = f"""
    create table rate_cards (
        rate_card_id text primary key,
        agency_id text references agencies,
        name text not null,
        card jsonb not null,
        {KEPT}
    );
    create table licenses (
        license_id text primary key,
        agency_id text not null references agencies,
        talent_id text not null references talents,
        twin_id text not null references twins,
        brand_id text not null references brands,
        terminated_at timestamptz,
        {KEPT}
    );
    create index licenses_of_agency on licenses (agency_id);
    create index licenses_of_talent on licenses (talent_id);
    create index licenses_of_twin on licenses (twin_id);
    create index licenses_of_brand on licenses (brand_id);
    create table license_versions (
        license_id text not null references licenses,
        version integer not null check (version > 0),
        effective_from timestamptz not null,
        scope jsonb not null,
        rate_card jsonb not null,
        split jsonb not null,
        made_by text not null,
        request_digest text not null,
        created_at timestamptz not null,
        primary key (license_id, version),
        unique (license_id, made_by)
    );

    create table consents (
        consent_id text primary key,
        talent_id text not null references talents,
        agency_id text not null references agencies,
        twin_id text not null references twins,
        granted_at timestamptz not null,
        withdrawn_at timestamptz check (withdrawn_at >= granted_at),
        {KEPT}
    );
    create index consents_of_agency on consents (agency_id);
    create index consents_of_talent on consents (talent_id);
    -- A second one in force would make the withdrawal of the first worth nothing.
    create unique index consents_in_force on consents (twin_id) where withdrawn_at is null;
"""

KEYS = f"""
    create table api_keys (
        api_key_id text primary key,
        key_hash text not null unique,
        role text not null check (role in ('platform', 'agency', 'talent', 'brand', 'finance', 'operator')),
        tenant_id text,
        agency_id text references agencies,
        name text not null,
        status text not null check (status in ('active', 'withdrawn')),
        {KEPT},
        check ((tenant_id is null) = (role in ('finance', 'operator')))
    );
    create index api_keys_of_agency on api_keys (agency_id);
"""

APPEND_ONLY = """
    create function refuse_change() returns trigger language plpgsql as $$
    begin
        raise exception 'versions of a license are append-only: % refused; add a version instead', tg_op
            using errcode = 'restrict_violation';
    end $$;
    create trigger append_only before update or delete on license_versions
        for each row execute function refuse_change();
    create trigger append_only_whole before truncate on license_versions
        for each statement execute function refuse_change();
    revoke update, delete, truncate on registry.license_versions from registry_worker, registry_api;
"""

FINANCE = "current_setting('twintally.role', true) = 'finance'"
AGENCY_ROLE = "current_setting('twintally.role', true) = 'agency'"
MODE = "livemode::text = current_setting('twintally.livemode', true)"


def upgrade() -> None:
    for tables in (PARTIES, REFERENCES, LICENSES, KEYS):
        op.execute(tables)
    _walls_of_parties()
    _walls_of_licenses()
    op.execute(wall("registry", "api_keys", api_rows=_rows(caller_is("agency_id"))))
    # Who presents the text of a key may learn whose it is, before anything else is known of the caller.
    op.execute(
        "create policy presented on registry.api_keys for select to registry_api"
        " using (key_hash = current_setting('twintally.key_hash', true))"
    )
    op.execute(outbox_tables("registry", api_publishes=True))
    op.execute(APPEND_ONLY)


def _walls_of_parties() -> None:
    of_both = _rows(caller_is("agency_id"), caller_is("talent_id"))
    op.execute(wall("registry", "agencies", api_rows=_rows(caller_is("agency_id"))))
    op.execute(f"create policy readers on registry.agencies for select to registry_api using ({MODE} and {FINANCE})")
    for table, may in (("brands", "select, insert, update"), ("brand_accounts", "select, insert, delete")):
        op.execute(wall("registry", table, api_rows=_rows(), api_may=may))
        op.execute(f"create policy readers on registry.{table} for select to registry_api using ({MODE})")
    for table in ("talents", "twins", "image_references"):
        op.execute(wall("registry", table, api_rows=of_both))
    of_talent = "exists (select from registry.talents as own where own.talent_id = representations.talent_id)"
    op.execute(wall("registry", "representations", api_rows=of_talent, api_may="select, insert"))


def _walls_of_licenses() -> None:
    op.execute(wall("registry", "rate_cards", api_rows=_rows(FINANCE), api_may="select, insert"))
    offered = f"{caller_is('agency_id')} or (agency_id is null and {AGENCY_ROLE})"
    op.execute(
        f"create policy readers on registry.rate_cards for select to registry_api using ({MODE} and ({offered}))"
    )
    parts = (caller_is("agency_id"), caller_is("talent_id"))
    op.execute(wall("registry", "licenses", api_rows=_rows(*parts, caller_is("brand_id"))))
    of_license = "exists (select from registry.licenses as own where own.license_id = license_versions.license_id)"
    op.execute(wall("registry", "license_versions", api_rows=of_license, api_may="select, insert"))
    op.execute(wall("registry", "consents", api_rows=_rows(*parts)))


def _rows(*tenants: str) -> str:
    """Rows of the caller's mode that are the operator's to see or one of these tenants' own."""
    return f"{MODE} and ({' or '.join((OPERATOR, *tenants))})"
