"""Statements that every migration uses: roles, grants, and the wall between tenants."""

OPERATOR = "current_setting('twintally.role', true) = 'operator'"


def role_statements(schema: str) -> tuple[str, ...]:
    """The schema and its two roles, which own nothing; safe to run again."""
    statements = [f"create schema if not exists {schema}"]
    for role in (f"{schema}_worker", f"{schema}_api"):
        statements += [
            f"do $$ begin create role {role} login; exception when duplicate_object then null; end $$",
            f"grant usage on schema {schema} to {role}",
        ]
    statements.append(
        f"alter default privileges in schema {schema} grant select, insert, update, delete on tables to {schema}_worker"
    )
    return tuple(statements)


def caller_is(column: str) -> str:
    """The condition that a row belongs to the calling tenant; not set means no rows."""
    return f"{column} = current_setting('twintally.{column}', true)"


def wall(schema: str, table: str, *, api_rows: str | None, api_may: str = "select, insert, update") -> str:
    """Row-level security, forced: the worker sees all rows, the API role the rows of a condition.

    `api_rows` of None keeps the API role out of the table.
    """
    statements = [
        f"alter table {schema}.{table} enable row level security",
        f"alter table {schema}.{table} force row level security",
        f"create policy worker on {schema}.{table} to {schema}_worker using (true) with check (true)",
    ]
    if api_rows is not None:
        statements += [
            f"create policy api on {schema}.{table} to {schema}_api using ({api_rows}) with check ({api_rows})",
            f"grant {api_may} on {schema}.{table} to {schema}_api",
        ]
    return ";\n".join(statements) + ";"


def outbox_tables(schema: str, *, api_publishes: bool = False) -> str:
    """The outbox of a service; with `api_publishes`, requests may put events into it too."""
    from shared.outbox.store import TABLES

    rows, may_put, may_count = ("true", "insert", "select, insert, update") if api_publishes else (None, "", "")
    return (
        TABLES
        + wall(schema, "outbox", api_rows=rows, api_may=may_put)
        + wall(schema, "published_states", api_rows=rows, api_may=may_count)
    )
