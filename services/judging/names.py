"""The verdicts by the names that tables, pages and metrics know."""

from typing import Literal, assert_never

from services.judging.domain import Licensed, NoUse, OutOfScope, Unlicensed, Verdict

VerdictName = Literal["licensed", "out_of_scope", "unlicensed", "no_use"]


def name_of(verdict: Verdict) -> VerdictName:
    """The name of a verdict."""
    match verdict:
        case Licensed():
            return "licensed"
        case OutOfScope():
            return "out_of_scope"
        case Unlicensed():
            return "unlicensed"
        case NoUse():
            return "no_use"
        case _:
            assert_never(verdict)
