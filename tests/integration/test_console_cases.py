"""The console's cases: the list, the evidence, taking one in hand."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from shared.events import Reason
from shared.ids import digest_of
from tests.console_house import NOON, PUBLISHED, REFERENCE, a_sighting, an_infringement
from tests.console_street import Street, a_street, furnished
from tests.console_visitor import Visitor, a_visitor, words_of


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with a_street() as street:
        yield street


@pytest.fixture
async def visitor(street) -> AsyncIterator[Visitor]:
    async with a_visitor(street.let(furnished())) as visitor:
        yield visitor


async def test_cases_are_listed_by_status(visitor):
    await visitor.sign_in()
    assert "Acknowledged" in await visitor.see("/cases")
    held = await visitor.see("/cases?status=held")
    assert "a-very-long-account-name" in held
    assert "acme.official" not in held
    assert (await visitor.open("/cases?status=nonsense")).status_code == 404


async def test_every_case_is_on_exactly_one_page(visitor):
    for number in range(60):
        visitor.behind.cases.add(an_infringement(f"more-{number:02}"), opened_at=NOON + timedelta(minutes=number))
    await visitor.sign_in()
    path, seen = "/cases?status=open", []
    while path:
        page = (await visitor.open(path)).text
        seen += re.findall(r'href="/cases/([^"]+)"', page)
        more = re.search(r'rel="next" href="([^"]+)"', page)
        path = more[1].replace("&amp;", "&") if more else ""
    assert len(seen) == len(set(seen)) == 61


async def test_a_case_shows_the_evidence_the_reasons_and_what_was_done(visitor):
    await visitor.sign_in()
    page = await visitor.see("/cases/use-1")
    for told in (
        "acme.official on Instagram",
        "Territory Shown in US",
        "Term Started at 2026-11-02",
        "96 %",
        "Cropped to 71 %, scaled to 0.84, flipped",
        "640 × 800 pixels, 130 from the left and 90 from the top",
        "Ada, studio",
        "Acme Outdoor",
        "version 2",
        "Still shown",
        "https://agency.example/webhooks/twintally Delivered 2 204",
        "Opened",
    ):
        assert told in page
    markup = (await visitor.open("/cases/use-1")).text
    assert f'src="/media/{digest_of(PUBLISHED)}"' in markup
    assert 'src="/references/ref_1"' in markup
    assert 'x="130.0" y="90.0" width="640.0" height="800.0"' in markup


async def test_the_pictures_come_through_with_the_key_of_the_person(visitor):
    await visitor.sign_in()
    for path, picture in ((f"/media/{digest_of(PUBLISHED)}", PUBLISHED), ("/references/ref_1", REFERENCE)):
        answer = await visitor.open(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.content == picture
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["cache-control"] == "no-store"
    await visitor.sign_in("other")
    assert (await visitor.open(f"/media/{digest_of(PUBLISHED)}")).status_code == 404
    assert (await visitor.open("/references/ref_1")).status_code == 404
    await visitor.sign_in("finance")
    assert (await visitor.open("/references/ref_1")).status_code == 403


async def test_what_is_no_picture_does_not_come_through(visitor):
    page = b"<!doctype html><script>alert(1)</script>"
    visitor.behind.pictures.kept[digest_of(page)] = page
    await visitor.sign_in()
    answer = await visitor.open(f"/media/{digest_of(page)}")
    assert answer.status_code == 404
    assert b"alert(1)" not in answer.content


async def test_a_case_is_acknowledged_once_and_the_note_is_kept(visitor):
    await visitor.sign_in()
    answer = await visitor.send("/cases/use-1/acknowledge", why="  I write to them.\r\nToday. ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/cases/use-1?acknowledged=true")
    page = await visitor.see("/cases/use-1?acknowledged=true")
    assert "in your hands now" in page
    assert "I write to them. Today." in page
    assert "key_agency" in page
    assert (await visitor.send("/cases/use-1/acknowledge")).status_code == 303
    assert [step["kind"] for step in visitor.behind.cases.steps["use-1"]] == ["opened", "acknowledged"]


async def test_a_case_that_was_withdrawn_meanwhile_is_not_acknowledged(visitor):
    await visitor.sign_in()
    answer = await visitor.send("/cases/use-4/acknowledge", why="mine")
    assert answer.status_code == 409
    assert "The case is withdrawn" in words_of(answer.text)


async def test_a_note_that_is_too_long_comes_back_to_be_shortened(visitor):
    await visitor.sign_in()
    answer = await visitor.send("/cases/use-1/acknowledge", why="long " * 500)
    assert answer.status_code == 422
    assert "shorten it to 2000" in words_of(answer.text)
    assert "long long" in answer.text


async def test_a_case_of_another_agency_is_not_there(visitor):
    await visitor.sign_in("other")
    assert "There is no such page" in await visitor.see("/cases/use-1", 404)
    assert (await visitor.send("/cases/use-1/acknowledge")).status_code == 404
    assert "No case" in await visitor.see("/cases")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/cases/..%2f..%2fv1%2fendpoints",
        "/cases/a%2Fb",
        "/references/%2e%2e",
        "/media/sha256:0",
        "/statements/x",
    ],
)
async def test_what_is_not_there_is_told_in_a_page(visitor, path):
    await visitor.sign_in()
    answer = await visitor.open(path)
    assert answer.status_code == 404
    assert "There is no such page" in words_of(answer.text)


async def test_a_page_that_a_role_may_not_see_says_so(visitor):
    await visitor.sign_in("talent")
    assert "This page is not for you" in await visitor.see("/cases", 403)


async def test_a_picture_that_the_platform_uploaded_has_no_address(visitor):
    visitor.behind.cases.add(an_infringement("use-8", sightings=(a_sighting(media_url=None),)))
    await visitor.sign_in()
    page = await visitor.see("/cases/use-8")
    assert "The platform sent us the picture itself" in page
    assert "None" not in page


async def test_what_strangers_wrote_stays_text(visitor):
    hostile = '"><script>alert(1)</script>'
    reason = Reason(dimension="account", text=hostile)
    sighting = a_sighting(media_url="javascript:alert(1)", description=hostile, reference_id='r"><b>')
    found = an_infringement("use-9", account=hostile, reasons=(reason,), post_id=hostile, sightings=(sighting,))
    visitor.behind.cases.add(found)
    await visitor.sign_in()
    for path in ("/", "/cases", "/cases/use-9"):
        markup = (await visitor.open(path)).text
        assert "<script>alert" not in markup
        assert 'href="javascript' not in markup
        assert "<b>" not in markup
