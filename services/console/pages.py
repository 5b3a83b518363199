"""Turns templates into pages."""

import hashlib
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from services.console import domain
from services.console.session import Session
from shared.money import formatted

STATIC = Path(__file__).parent / "static"


class Pages:
    """All templates, with the words and forms they share."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("services.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            words=domain.in_words,
            payee=domain.payee_in_words,
            platform=domain.platform_in_words,
            short=domain.shortened,
            percent=domain.percent,
            money=formatted,
            moment=_moment,
        )
        self._templates.globals.update(
            explained=domain.EXPLAINED,
            case_statuses=domain.CASE_STATUSES,
            roles_with_cases=domain.ROLES_WITH_CASES,
            roles_with_ledger=domain.ROLES_WITH_LEDGER,
            static=_addresses_of_static_files(),
        )

    def page(self, name: str, session: Session | None, *, status: int = 200, **shown: object) -> HTMLResponse:
        """The page of this template."""
        text = self._templates.get_template(name).render(session=session, **shown)
        return HTMLResponse(text, status_code=status)


def _moment(moment: datetime | None) -> Markup:
    if moment is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), domain.in_full_words(moment))


def _addresses_of_static_files() -> dict[str, str]:
    # Named by their content, so that browsers may keep them and still see the next version at once.
    return {
        path.name: f"/static/{path.name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        for path in STATIC.iterdir()
    }
