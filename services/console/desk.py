"""What every page works with, and who is asking for it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from services.console.pages import Pages
from services.console.session import Session, Sessions
from services.console.upstream import Services
from shared.values import Digest

# An id in a path. Without slashes or dot segments: it becomes part of another service's path.
Segment = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._:@~-]{0,199}$")]
DigestInPath = Annotated[Digest, Path()]


@dataclass(frozen=True)
class Desk:
    """The parts of the console."""

    services: Services
    sessions: Sessions
    pages: Pages


class SignInNeeded(Exception):  # noqa: N818 - an answer, not an error
    """This page is for people who are signed in."""


async def signed_in(request: Request) -> Session:
    """A dependency: the session of the person who asks; raises SignInNeeded."""
    desk: Desk = request.app.state.desk
    session = desk.sessions.find(request.cookies)
    if session is None:
        raise SignInNeeded
    return session


Person = Annotated[Session, Depends(signed_in)]
