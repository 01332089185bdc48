"""What changed about models, and how far loading is, in lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from serving.cli.bursts import Kind, Line
from serving.models.desired.on_disk import numbers
from serving.models.reasons import Absence
from serving.models.state import PENDING, State
from serving.models.views import Changes, ModelView, VersionView

Views = tuple[ModelView, ...]
# Models that one line names.
_MOST_NAMED = 20
_FIRST_WORD_S = 2.0
_LONGEST_SILENCE_S = 30.0
# Versions after which there is something to expect of the others.
_ENOUGH_DONE = 10


class News:
    """What is other than in the views before: one line for each version that became ready,
    failed or went, and for what is to be said of a model."""

    def __init__(self) -> None:
        self._before: dict[str, ModelView] = {}
        # Of all models together.
        self.versions = 0
        # What was said last of models as such.
        self._said: dict[str, str] = {}
        # Why versions failed, as far as it was said: each tries again, and may fail again.
        self._failed: dict[tuple[str, int], str] = {}

    def lines(self, changed: Changes) -> list[Line]:
        found: list[Line] = []
        for name, view in sorted(changed.items()):
            old = self._before.get(name)
            if view is not None and old is not view:
                self._before[name] = view
                self.versions += len(view.versions) - (len(old.versions) if old else 0)
                found += self._of_model(old, view)
        for name in sorted(name for name, view in changed.items() if view is None):
            found += self._of_gone(name)
        return found

    def _of_gone(self, name: str) -> Iterator[Line]:
        gone = self._before.pop(name, None)
        if gone is None:
            return
        self._said.pop(name, None)
        self.versions -= len(gone.versions)
        for version in gone.versions:
            self._failed.pop((name, version.number), None)
            if _ready(version):
                yield Line(f"{name} {version.number}: unloaded", "", Kind.UNLOADED)

    def _of_model(self, old: ModelView | None, new: ModelView) -> Iterator[Line]:
        before = {v.number: v for v in old.versions} if old is not None else {}
        for version in new.versions:
            yield from self._of_version(new.name, before.pop(version.number, None), version)
        for number in before:
            self._failed.pop((new.name, number), None)
        yield from _left_and_answers(old, new, before.values())
        yield from self._of_all(new)

    def _of_all(self, view: ModelView) -> Iterator[Line]:
        if not view.reason:
            self._said.pop(view.name, None)
        elif _says_more(view) and self._said.get(view.name) != view.reason:
            self._said[view.name] = view.reason
            text = f"{view.name}: {view.reason}"
            wrong = view.default is None and _is_wrong(view)
            yield Line(text, "red", Kind.FAILED) if wrong else Line(text, "yellow", Kind.REMARK)

    def _of_version(
        self, name: str, was: VersionView | None, version: VersionView
    ) -> Iterator[Line]:
        key = (name, version.number)
        if version.state is State.FAILED and self._failed.get(key) != version.reason:
            self._failed[key] = version.reason
            yield Line(f"{name} {version.number}: failed: {version.reason}", "red", Kind.FAILED)
        elif _ready(version) and (was is None or not _ready(was)):
            self._failed.pop(key, None)
            yield Line(f"{name} {version.number}: {_ready_words(version)}", "", Kind.READY)


def _left_and_answers(
    old: ModelView | None, new: ModelView, gone: Iterable[VersionView]
) -> Iterator[Line]:
    for version in filter(_ready, gone):
        yield Line(f"{new.name} {version.number}: unloaded", "", Kind.UNLOADED)
    if old is not None and None not in (old.default, new.default) and old.default != new.default:
        text = f"{new.name}: version {new.default} answers now, before it {old.default}"
        yield Line(text, "", Kind.ANSWERS)


def _ready(version: VersionView) -> bool:
    return version.state is State.READY


def _ready_words(version: VersionView) -> str:
    facts = version.facts
    threads = f"{facts.threads} thread{'' if facts.threads == 1 else 's'}"
    instances = "" if facts.instances == 1 else f", {facts.instances} instances"
    return f"ready on {facts.provider}, {threads}{instances}; {facts.batching}"


def _says_more(view: ModelView) -> bool:
    """Whether the model's own reason is news beside what its versions say."""
    states = {version.state for version in view.versions}
    if not view.reason or view.absence is Absence.NOBODY_ASKED or states & PENDING:
        return False
    return view.default is not None or State.FAILED not in states


@dataclass(frozen=True, slots=True)
class Standing:
    """How far loading is: versions ``done`` of ``of``, after ``passed_s``; ``left_s``: how long the
    rest may take, None where too few are done to tell; ``now``: what is being loaded, or waits."""

    passed_s: float
    done: int
    of: int
    left_s: float | None
    now: tuple[str, ...]

    def words(self) -> str:
        left = "" if self.left_s is None else f", about {self.left_s:.0f} s left"
        return (
            f"loading for {self.passed_s:.0f} s: {self.done:,} of {self.of:,} versions done{left};"
            f" now {few(self.now, 3)}"
        )


class Progress:
    """Says how far loading is, the rarer the longer it takes. Times are in seconds."""

    def __init__(self, now: float) -> None:
        self._begun = now
        self._next = now + _FIRST_WORD_S
        # When it was last said, and how many were done.
        self._before = (now, 0)

    def is_due(self, now: float) -> bool:
        return now >= self._next

    def standing(self, views: Views, now: float) -> Standing | None:
        """None where it is too early for another word, or nothing is loading."""
        if not self.is_due(now):
            return None
        passed = now - self._begun
        self._next = now + min(max(passed, _FIRST_WORD_S), _LONGEST_SILENCE_S)
        versions = [(view.name, v) for view in views for v in view.versions]
        under_way = [f"{name} {v.number}" for name, v in versions if v.state in PENDING]
        if not under_way:
            return None
        done = len(versions) - len(under_way)
        now_at = [f"{n} {v.number}" for n, v in versions if v.state in PENDING - {State.NEW}]
        then, before = self._before
        self._before = (now, done)
        left = _left([(now - then, done - before), (passed, done)], len(under_way))
        return Standing(passed, done, len(versions), left, tuple(now_at or under_way))


def _left(paces: Sequence[tuple[float, int]], rest: int) -> float | None:
    """How long the rest may take. ``paces``: seconds, and what was done in them; the first in
    which enough was done counts."""
    return next((s / done * rest for s, done in paces if done >= _ENOUGH_DONE), None)


def answering(views: Views) -> list[str]:
    """Each model that answers, with the version, and what else of it is loaded or pinned."""
    return [_answering(view) for view in views if view.default is not None]


def _answering(view: ModelView) -> str:
    others = [str(v.number) for v in view.versions if _ready(v) and v.number != view.default]
    also = [f"also {', '.join(others)}"] if others else []
    pinned = ["pinned"] if view.pinned == view.default else []
    return f"{view.name} {view.default}" + (
        f" ({'; '.join(pinned + also)})" if also or pinned else ""
    )


def failed(views: Views) -> list[str]:
    """Versions that failed, and models that can't be made out, by name."""
    found = []
    for view in views:
        found += [f"{view.name} {v.number}" for v in view.versions if v.state is State.FAILED]
        if not view.versions and view.default is None and _is_wrong(view):
            found.append(view.name)
    return found


def _is_wrong(view: ModelView) -> bool:
    """Whether more than a command or a policy keeps the model from being served."""
    meant = view.absence in (Absence.NOBODY_ASKED, Absence.BY_POLICY)
    return _says_more(view) and not view.held_out and not meant


def left_out(views: Views) -> list[str]:
    """What is on disk and not served because nobody wants it served: a line for each reason. A
    pin has a line for each model among the changes."""
    asleep = [v.name for v in views if v.absence is Absence.NOBODY_ASKED]
    unloaded = [v.name for v in views if v.default is None and v.held_out]
    by_policy = {view.name: _by_policy(view) for view in views}
    older = [f"{name} {numbers(left)}" for name, left in by_policy.items() if left]
    lines = {
        "not loaded, as nobody has asked for it ('serving models load NAME' does)": asleep,
        "unloaded by command ('serving models load NAME' loads it again)": unloaded,
        "left on disk by the version policy ('serving models --all' tells more)": older,
    }
    return [f"{what}: {few(names)}" for what, names in lines.items() if names]


def _by_policy(view: ModelView) -> list[int]:
    return [v.number for v in view.unloaded if v.absence is Absence.BY_POLICY]


def few(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
