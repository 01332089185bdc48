"""A verdict: whether a version may take traffic, every figure that says so, and its document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from serving.strict import Count, Few, Strict, Text, as_text

WORDS = BLESSED, NOT_BLESSED = "BLESSED", "NOT_BLESSED"
Gate = Literal["safe_to_serve", "quality"]
# The form of the document.
FORM = 1
# Of one verdict; slices make many.
MOST_CHECKS = 1024
_MOST_TOLD = 2


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked. ``name``: of it, such as a metric; ``slice``: the examples it is
    of, "" for all. ``value``: the version's, ``base``: the answering version's, None where there
    is none. ``words``: what was asked, or what is wrong."""

    gate: Gate
    name: str
    passed: bool
    words: str = ""
    slice: str = ""
    value: float | None = None
    base: float | None = None

    def __str__(self) -> str:
        what = f"{self.name} of {self.slice}" if self.slice else self.name
        return f"{what}: {self.words}" if self.words else what


@dataclass(frozen=True, slots=True)
class Verdict:
    """``at``: seconds since the epoch. ``base``: the version that answered, which it was held
    against; None: there was none. ``requests`` that were run and ``examples`` that were judged.
    ``notes``: what else is to be known. ``by`` and ``reason``: of a person who blessed it; "" where
    the gates did. ``seconds``: that it took. ``lasting``: whether another try would come to the
    same, so that it is worth keeping."""

    blessed: bool
    at: float
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    base: int | None = None
    requests: int = 0
    examples: int = 0
    seconds: float = 0.0
    by: str = ""
    reason: str = ""
    lasting: bool = True

    @property
    def word(self) -> str:
        return BLESSED if self.blessed else NOT_BLESSED

    @property
    def by_person(self) -> bool:
        return bool(self.reason)

    @property
    def words(self) -> str:
        """Why, in a line."""
        if self.by_person:
            by = f" from {self.by}" if self.by else ""
            return f"blessed by command{by}: {self.reason}"
        if self.blessed:
            return "; ".join(("it passed its gates", *self.notes))
        failed = [str(check) for check in self.checks if not check.passed]
        more = len(failed) - _MOST_TOLD
        rest = (f"and {more} more",) if more > 0 else ()
        return "; ".join((*failed[:_MOST_TOLD], *rest))


def judged(
    checks: tuple[Check, ...], at: float, notes: tuple[str, ...] = (), **facts: Any
) -> Verdict:
    """Blessed where every check passed."""
    blessed = all(check.passed for check in checks)
    # What failed is never cut off.
    shown = sorted(checks, key=lambda check: check.passed)[:MOST_CHECKS]
    kept = checks if len(checks) <= MOST_CHECKS else tuple(shown)
    return Verdict(blessed, at, kept, notes, **facts)


def unjudged(words: str, at: float) -> Verdict:
    """Not blessed, for ``words`` say why it could not be judged. Another day it may be."""
    return Verdict(False, at, (Check("safe_to_serve", "runs", False, words),), lasting=False)


def by_person(before: Verdict | None, at: float, by: str, reason: str) -> Verdict:
    """Whatever its figures are, which stay to be seen."""
    known = before or Verdict(True, at)
    return replace(known, blessed=True, at=at, by=by, reason=reason)


class ReadCheck(Strict):
    """A check as a document has it."""

    gate: Gate
    name: Text
    passed: bool
    words: Text
    slice: Text
    value: float | None
    base: float | None


class _Verdict(Strict):
    form: int
    verdict: Literal["BLESSED", "NOT_BLESSED"]
    at: Annotated[float, Field(ge=0, lt=1e12)]
    checks: Few[ReadCheck]
    notes: Few[Text]
    base: Count | None
    requests: Count
    examples: Count
    seconds: Annotated[float, Field(ge=0, lt=1e9)]
    by: Text
    reason: Text


def to_plain(verdict: Verdict) -> dict[str, Any]:
    """As JSON carries it: the admin port shows the same."""
    return {
        "verdict": verdict.word,
        "at": verdict.at,
        "checks": [_check_to_plain(check) for check in verdict.checks],
        "notes": [as_text(note) for note in verdict.notes],
        "base": verdict.base,
        "requests": verdict.requests,
        "examples": verdict.examples,
        "seconds": round(verdict.seconds, 3),
        "by": as_text(verdict.by),
        "reason": as_text(verdict.reason),
    }


def _check_to_plain(check: Check) -> dict[str, Any]:
    plain = asdict(check)
    return {key: as_text(one) if isinstance(one, str) else one for key, one in plain.items()}


def document(verdict: Verdict) -> dict[str, Any]:
    return {"form": FORM, **to_plain(verdict)}


def from_document(found: object) -> Verdict | None:
    """None for what ``document`` did not write: the version is judged anew."""
    try:
        read = _Verdict.read(found, "a verdict")
    except ValueError:
        return None
    if read.form != FORM:
        return None
    fields: Mapping[str, Any] = {
        key: value for key, value in dict(read).items() if key not in ("form", "verdict")
    }
    checks = tuple(Check(**dict(check)) for check in read.checks)
    return Verdict(blessed=read.verdict == BLESSED, **{**fields, "checks": checks})
