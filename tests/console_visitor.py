"""Someone who uses the console, without a browser; and what a well-built page is."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import httpx2
from cryptography.fernet import Fernet
from pydantic import SecretStr

from services.console.api import build_app
from services.console.desk import Desk
from services.console.pages import Pages
from services.console.session import Sessions
from services.console.upstream import Services
from tests.console_street import Behind

HERE = "http://console.test"


class Visitor:
    """Someone with a browser."""

    def __init__(self, behind: Behind) -> None:
        self.behind = behind
        self.services = Services(behind.addresses, timeout_s=5)
        key = SecretStr(Fernet.generate_key().decode())
        self.sessions = Sessions(key, lasts=timedelta(hours=1), secure=False, port=8007)
        app = build_app(Desk(self.services, self.sessions, Pages()), secure=False)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(transport=transport, base_url=HERE)

    async def sign_in(self, role: str = "agency", **fields: str) -> httpx2.Response:
        return await self.send("/sign-in", api_key=f"twk_{role}", **fields)

    async def send(self, path: str, *, origin: str | None = HERE, **fields: str) -> httpx2.Response:
        headers = {"Origin": origin} if origin else {}
        return await self.client.post(path, data=fields, headers=headers)

    async def open(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers=headers)

    async def see(self, path: str, status: int = 200) -> str:
        """The words of a page, without markup."""
        answer = await self.open(path)
        assert answer.status_code == status, answer.text
        return words_of(answer.text)

    async def close(self) -> None:
        await self.client.aclose()
        await self.services.aclose()


@asynccontextmanager
async def a_visitor(behind: Behind) -> AsyncIterator[Visitor]:
    """Someone who uses a console in front of these services."""
    visitor = Visitor(behind)
    try:
        yield visitor
    finally:
        await visitor.close()


def words_of(page: str) -> str:
    reader = Reader()
    reader.feed(page)
    return " ".join(" ".join(reader.words).split())


class Reader(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def every(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def check_form(path: str, markup: str) -> None:
    """The things that screen readers and keyboards need."""
    page = Reader()
    page.feed(markup)
    assert re.search(r"<title>\S.+ · Twintally</title>", markup), path
    assert page.every("html")[0]["lang"] == "en"
    assert [len(page.every(name)) for name in ("h1", "main", "footer")] == [1, 1, 1], path
    assert page.tags[[tag for tag, _ in page.tags].index("a")][1]["href"] == "#content"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels)), (path, levels)
    labelled = {label["for"] for label in page.every("label")}
    fields = [field for field in page.every("input", "textarea", "select") if field.get("type") != "hidden"]
    assert {field["id"] for field in fields} <= labelled, path
    assert all("alt" in image for image in page.every("img")), path
    assert all("scope" in cell for cell in page.every("th")), path
    assert len(page.every("table")) == len(page.every("caption"))
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids)), path
    named = [attributes["aria-labelledby"] for _, attributes in page.tags if attributes.get("aria-labelledby")]
    assert set(named) <= set(ids), path
    assert not page.every("style"), "no inline style"
    assert all("style" not in attributes and "onclick" not in attributes for _, attributes in page.tags)
    assert all(script.get("src", "").startswith("/static/") for script in page.every("script"))  # type: ignore[union-attr]
