"""What every service knows of one post, gathered; a service that is away leaves its place empty and says so."""

from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from infra.trace.asking import Away
from shared.values import Id, Platform

Json = dict[str, Any]

_PLATFORM: TypeAdapter[str] = TypeAdapter(Platform)
_ID: TypeAdapter[str] = TypeAdapter(Id)


class Asks(Protocol):
    """Asks services."""

    livemode: bool | None

    def get(self, service: str, path: str, **query: str) -> Any:
        """What a service answers, None for 404; Away."""


@dataclass(frozen=True)
class Post:
    """Which post."""

    platform: str
    post_id: str


@dataclass
class Gathered:
    """Everything that was told of a post; uses, cases and ledger transactions by use id."""

    post: Post
    livemode: bool | None = None
    matching: Json | None = None
    freshness: Json | None = None
    uses: dict[str, Json] = field(default_factory=dict)
    cases: dict[str, Json] = field(default_factory=dict)
    transactions: dict[str, list[Json]] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)

    @property
    def use_ids(self) -> list[str]:
        """Every use of the post, whoever knows it."""
        of_matching = [str(use["use_id"]) for use in self.matching["uses"]] if self.matching else []
        return list(dict.fromkeys([*of_matching, *self.uses]))

    @property
    def known(self) -> bool:
        """Whether anybody knows the post."""
        return self.matching is not None or bool(self.uses)


def post_named(ask: Asks, name: str, post_id: str | None) -> Post | None:
    """The post that PLATFORM POST_ID, PLATFORM:POST_ID, a use id or an event id names; None when an id names none.

    ValueError when the text names nothing; Away when who knows the id does not answer.
    """
    platform, colon, rest = name.partition(":")
    if post_id is not None:
        return _checked(name, post_id)
    if colon:
        return _checked(platform, rest)
    try:
        an_id = str(UUID(name))
    except ValueError as error:
        raise ValueError(
            f"{name!r} names no post: give PLATFORM POST_ID, PLATFORM:POST_ID, a use id or an event id"
        ) from error
    use = ask.get("judging", f"/v1/uses/{an_id}")
    found = use if use is not None else ask.get("matching", "/v1/posts", event_id=an_id)
    return None if found is None else Post(found["platform"], found["post_id"])


def gather(ask: Asks, post: Post) -> Gathered:
    """Ask every service in the order of the flow."""
    found = Gathered(post)
    _of_matching(ask, found)
    _of_judging(ask, found)
    for use_id in found.use_ids:
        _of_use(ask, found, use_id)
    found.livemode = ask.livemode
    return found


def _of_matching(ask: Asks, found: Gathered) -> None:
    try:
        found.matching = ask.get("matching", f"/v1/posts/{_quoted(found.post.platform)}/{_quoted(found.post.post_id)}")
    except Away as away:
        found.away["matching"] = str(away)


def _of_judging(ask: Asks, found: Gathered) -> None:
    try:
        found.freshness = ask.get("judging", "/v1/freshness")
        listed = ask.get("judging", "/v1/uses", post=f"{found.post.platform}:{found.post.post_id}") or []
        for use_id in dict.fromkeys([*(each["use_id"] for each in listed), *found.use_ids]):
            whole = ask.get("judging", f"/v1/uses/{use_id}")
            if whole is not None:
                found.uses[use_id] = whole
    except Away as away:
        found.away["judging"] = str(away)


def _of_use(ask: Asks, found: Gathered, use_id: str) -> None:
    try:
        if "alerts" not in found.away and (case := ask.get("alerts", f"/v1/cases/{use_id}")) is not None:
            found.cases[use_id] = case
    except Away as away:
        found.away["alerts"] = str(away)
    try:
        if "royalty" not in found.away:
            found.transactions[use_id] = ask.get("royalty", "/v1/transactions", use_id=use_id) or []
    except Away as away:
        found.away["royalty"] = str(away)


def _checked(platform: str, post_id: str) -> Post:
    for name, kind, text in (("platform", _PLATFORM, platform), ("post id", _ID, post_id)):
        try:
            kind.validate_python(text)
        except ValidationError as error:
            raise ValueError(f"{name} {text!r}: {error.errors()[0]['msg']}") from error
    return Post(platform, post_id)


def _quoted(text: str) -> str:
    return quote(text, safe="")
