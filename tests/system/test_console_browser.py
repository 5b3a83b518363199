"""The console in a real browser, as its users see it; it runs as a process of its own."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from cryptography.fernet import Fernet
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.console_street import Behind, a_street, furnished

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
KEY = "twk_agency"
PHONE, DESKTOP = {"width": 375, "height": 812}, {"width": 1280, "height": 900}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser; on Debian: apt install chromium")


class Console:
    """The console's process."""

    def __init__(self, behind: Behind, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.behind = behind
        self.address = f"http://127.0.0.1:{port}"
        self.log = log
        urls = {f"TWINTALLY_URL_{name.upper()}": address for name, address in behind.addresses.items()}
        own = {"TWINTALLY_HTTP_PORT": str(port), "TWINTALLY_SECRET_KEY": Fernet.generate_key().decode()}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "services.console"),
                env={**os.environ, **urls, **own},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    async def ready(self) -> None:
        async with httpx2.AsyncClient(timeout=2) as client:
            for _ in range(300):
                assert self._process.poll() is None, self.log.read_text()
                try:
                    if (await client.get(f"{self.address}/health/ready")).status_code == 200:
                        return
                except httpx2.HTTPError:
                    pass
                await asyncio.sleep(0.1)
        raise AssertionError("the console did not start in time")

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(timeout=30)


@pytest.fixture
async def console(tmp_path) -> AsyncIterator[Console]:
    with a_street() as street:
        console = Console(street.let(furnished()), tmp_path / "console.log")
        try:
            await console.ready()
            yield console
        finally:
            assert console.stop() == 0


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


class Complaints:
    """What the browser complained of."""

    def __init__(self, context: BrowserContext) -> None:
        self.told: list[str] = []
        context.on("console", lambda message: self._hear(message.type, message.text))
        context.on("weberror", lambda error: self.told.append(str(error.error)))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.told.append(text)


async def press_until(page: Page, selector: str) -> None:
    """Go to a thing by the Tab key alone, as people without a mouse do."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("selector => document.activeElement.matches(selector)", selector):
            outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"the focus on {selector} does not show"
            return
    raise AssertionError(f"the Tab key does not reach {selector}")


async def sizes_of_pictures(page: Page) -> list[int]:
    await page.wait_for_load_state("networkidle")
    return list(await page.evaluate("[...document.querySelectorAll('img.picture')].map(each => each.naturalWidth)"))


async def overflow(page: Page) -> int:
    return int(await page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


async def test_a_person_without_a_mouse_works_a_case_and_checks_a_statement(console, browser):
    context = await browser.new_context(viewport=DESKTOP)
    complaints = Complaints(context)
    page = await context.new_page()

    await page.goto(f"{console.address}/cases")
    await expect(page).to_have_title("Sign in · Twintally")
    await press_until(page, "#api-key")
    await page.keyboard.type(KEY)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Cases")

    await press_until(page, "a[href='/cases/use-1']")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("acme.official on Instagram")
    assert await sizes_of_pictures(page) == [900, 640, 900, 640]
    marks = page.locator("#marks-1")
    await expect(marks).to_be_visible()
    await expect(marks).to_have_attribute("viewBox", "0 0 900 900")
    await expect(page.locator(".reasons")).to_contain_text("Shown in US")
    await expect(page.locator(".reasons")).to_contain_text("the license covers 2026-05-01")

    await press_until(page, "#why-text")
    await page.keyboard.type("I write to them today.")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("in your hands now")
    await expect(page.locator(".history")).to_contain_text("I write to them today.")
    assert console.behind.cases.rows["use-1"]["status"] == "acknowledged"

    await press_until(page, ".menu a[href='/statements']")
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="2026-11").click()
    await expect(page.locator(".total-figure")).to_have_text("1,500 JPY")
    await expect(page.get_by_role("row", name="Total").last).to_contain_text("1,500 JPY")

    await press_until(page, ".person button")
    await page.keyboard.press("Enter")
    await expect(page).to_have_title("Sign in · Twintally")
    assert complaints.told == []
    assert KEY not in console.log.read_text()
    await context.close()


async def test_a_sign_in_link_never_sends_its_key_in_an_address(console, browser):
    context = await browser.new_context(viewport=DESKTOP)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = await context.new_page()
    await page.goto(f"{console.address}/sign-in?next=/statements#key={KEY}")
    await expect(page.get_by_role("status")).to_contain_text("is filled in")
    assert page.url == f"{console.address}/sign-in?next=/statements"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Statements")
    assert not [address for address in asked if KEY in address]
    await context.close()


async def test_who_is_signed_in_stays_so_behind_a_link_from_another_site(console, browser):
    context = await browser.new_context(viewport=DESKTOP)
    page = await context.new_page()
    await page.goto(f"{console.address}/sign-in#key={KEY}")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    # Another host on another site, with a link to a case, as a mail has one.
    mail = f"<a href='{console.address}/cases/use-1'>An alert</a>"
    await page.route("http://mail.test/", lambda route: route.fulfill(content_type="text/html", body=mail))
    await page.goto("http://mail.test/")
    await page.get_by_role("link", name="An alert").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("acme.official on Instagram")
    await context.close()


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_no_page_is_wider_than_the_screen(console, browser, viewport):
    context = await browser.new_context(viewport=viewport)
    page = await context.new_page()
    for role, paths in (
        ("agency", ["/", "/cases", "/cases/use-1", "/cases/nothing"]),
        ("finance", ["/", "/statements"]),
    ):
        await page.goto(f"{console.address}/sign-in#key=twk_{role}")
        assert await overflow(page) <= 0
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        statements = [f"/statements/{view.statement_id}" for view in console.behind.reports.views]
        for path in [*paths, *(statements if role == "finance" else [])]:
            await page.goto(console.address + path)
            assert await overflow(page) <= 0, path
    await context.close()
