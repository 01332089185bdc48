"""Judging a version: in a child of its own at a low priority, against the one that answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from serving.cancellation import Cancellation
from serving.datasets import pieces
from serving.errors import LoadError, Retry
from serving.events import log
from serving.execution.isolation import refusals
from serving.execution.isolation.framing import FramingError, Message
from serving.execution.isolation.parent.process import Child, ChildDiedError, ChildFailedError
from serving.execution.isolation.shared_memory import SharedMemory
from serving.gates.case import Case, Subject
from serving.gates.recorded import to_memory
from serving.gates.running import Running
from serving.gates.said import Replayed, Timed, checks_said
from serving.gates.thresholds import checks_of, rows_of
from serving.gates.verdict import Check, Gate, Verdict, judged
from serving.model_config import plain
from serving.settings import Settings
from serving.strict import StrictError

NICENESS = 15
MODULE = "serving.gates.child"
_SAFE: Gate = "safe_to_serve"
_QUALITY: Gate = "quality"

FIRST = "the first version of its model: it passes on being safe to serve alone"


class NotNowError(Exception):
    """No verdict came of it, for reasons of the moment; the text says which. ``broken``: it ended
    in a way that the version itself may be to blame for."""

    def __init__(self, words: str, *, broken: bool = False) -> None:
        super().__init__(words)
        self.broken = broken


class CalledOffError(Exception):
    """Nobody wants the verdict any more."""


@dataclass(slots=True)
class _Found:
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    requests: int = 0
    examples: int = 0
    lasting: bool = True


class _UnfitError(Exception):
    """The version is found out: there is no point in going on."""


class _BaseDiedError(Exception):
    """The answering version ended the child; the text says how."""


class Judge:
    """``spawn``: makes a child; for tests."""

    def __init__(
        self,
        settings: Settings,
        spawn: Callable[[], Child] | None = None,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._spawn = settings, spawn or _spawned
        self._mono, self._wall = mono, wall

    def __call__(self, case: Case, called_off: Cancellation) -> Verdict:
        """Raises NotNowError, CalledOffError."""
        since = self._mono()
        try:
            found = self._tried(case, called_off, since)
        except _BaseDiedError as death:
            # No fault of the new one's: it is tried without the other, in a child of its own.
            words = f"version {case.base_version} could not be run beside it: {death}"
            alone = replace(case, base=None, no_base=words)
            found = self._tried(alone, called_off, since)
        if called_off():
            raise CalledOffError
        return judged(
            tuple(found.checks),
            self._wall(),
            tuple(found.notes),
            base=case.base_version,
            requests=found.requests,
            examples=found.examples,
            seconds=self._mono() - since,
            lasting=found.lasting,
        )

    def _tried(self, case: Case, called_off: Cancellation, since: float) -> _Found:
        """What came of the case in one child. Raises NotNowError, _BaseDiedError."""
        try:
            child = self._spawn()
        except OSError as error:
            raise NotNowError("no process could be started for it") from error
        from serving import _core

        found = _Found()
        try:
            with _core.Computing(), called_off.waking(child.kill):
                _Trial(child, case, found, self._settings, since, self._mono).run()
        except _UnfitError:
            pass
        except StrictError as error:
            words = f"its process answered nonsense: {error}"
            raise NotNowError(words, broken=True) from error
        finally:
            child.kill()
            child.close()
        return found


def _running() -> Running:
    try:
        return Running()
    except OSError as error:
        raise NotNowError("there is no memory to time it") from error


def _spawned() -> Child:
    child = Child(MODULE, name="gates", niceness=NICENESS)
    log.debug("gates_process_started", pid=child.pid)
    return child


class _Trial:
    """One case in one child, step by step."""

    def __init__(
        self,
        child: Child,
        case: Case,
        found: _Found,
        settings: Settings,
        since: float,
        mono: Callable[[], float],
    ) -> None:
        self._child, self._case, self._found = child, case, found
        self._settings, self._mono = settings, mono
        self._until = since + settings.gates.timeout_s
        self._no_base = case.no_base
        self._has_base = case.base is not None
        # What is out of the way may end a process that is none of its own.
        sides = [case.candidate, *([case.base] if case.base is not None else [])]
        self._generates = not any(side.isolated for side in sides)

    def run(self) -> None:
        case = self._case
        self._ask(_SAFE, "ready", settings=self._settings.model_dump(mode="json"))
        if case.base is not None:
            self._take_base(case.base)
        if not case.terms.safe_to_serve and case.first:
            self._found.notes.append(FIRST)
        elif case.terms.safe_to_serve:
            self._safe_to_serve()
        else:
            self._load("candidate", case.candidate, _QUALITY)
        if case.first:
            return
        if case.terms.evaluation is not None:
            self._quality()

    # Safe to serve.

    def _take_base(self, base: Subject) -> None:
        """That it can't be loaded or run here is no fault of the new one's; what needs it can't be
        told then."""
        self._send_requests()
        try:
            self._ask(_SAFE, "load", which="base", **_load(self._case.model, base))
            self._ask(_SAFE, "replay", which="base", generates=self._generates)
        except _RefusedError as error:
            self._has_base = False
            self._no_base = f"version {base.version} could not be run beside it: {error}"
            self._found.notes.append(self._no_base)

    def _send_requests(self) -> None:
        requests = self._case.requests
        if not requests:
            return
        memory = SharedMemory()
        try:
            said = to_memory(requests, memory)
            self._ask(_SAFE, "requests", fds=[memory.fd], said=said, size=memory.size)
        except OSError as error:
            raise NotNowError("there is no memory for the requests") from error
        finally:
            memory.close()

    def _load(self, which: str, subject: Subject, gate: Gate) -> None:
        try:
            self._ask(gate, "load", which=which, **_load(self._case.model, subject))
        except _RefusedError as error:
            self._fail(gate, "loads", str(error))

    def _safe_to_serve(self) -> None:
        case, found = self._case, self._found
        if case.base is None:
            self._send_requests()
        self._load("candidate", case.candidate, _SAFE)
        try:
            answer = self._ask(_SAFE, "replay", which="candidate", generates=self._generates)
        except _RefusedError as error:
            self._fail(_SAFE, "runs", str(error))
        replayed = Replayed.of(answer)
        found.checks += replayed.checks
        found.requests = replayed.total
        found.notes += self._replay_notes(replayed)
        if self._has_base and all(one.passed for one in found.checks):
            self._rows()
        if self._has_base and case.terms.p99_factor and all(one.passed for one in found.checks):
            self._time(case.terms.p99_factor)

    def _rows(self) -> None:
        """What ends the process on a row that is run alone is told from the other version."""
        self._ask(_SAFE, "rows", which="base")
        self._found.checks += checks_said(self._ask(_SAFE, "rows", which="candidate"))

    def _time(self, factor: float) -> None:
        """Both run by turns in one process: it notes whose turn it is, so that none is blamed for
        the other's end."""
        running = _running()
        try:
            said = self._ask(_SAFE, "time", [running.fd], running=running, factor=factor)
        except _RefusedError as error:
            self._fail(_SAFE, "runs", f"it failed while it was timed: {error}")
        finally:
            running.close()
        timed = Timed.of(said)
        self._found.checks += timed.checks
        if timed.untimed:
            version = self._case.base_version
            self._found.notes.append(
                f"not timed: version {version} failed meanwhile: {timed.untimed}"
            )

    def _replay_notes(self, replayed: Replayed) -> list[str]:
        case = self._case
        notes = [FIRST] if case.first else []
        if not replayed.recorded:
            whose = f" of version {case.base_version}" if case.base_version is not None else ""
            used = f"{replayed.own} samples and {replayed.generated} generated inputs"
            notes.append(f"no request{whose} is recorded yet: {used} were run")
        if (failed := replayed.failed_there) > 0:
            which = f"{failed} of {replayed.total} requests"
            notes.append(f"{which} failed on version {case.base_version}: they prove nothing")
        if not self._has_base and not case.first:
            notes.append(f"not timed: {self._no_base}")
        return notes

    # Quality.

    def _quality(self) -> None:
        case, found = self._case, self._found
        if case.data is None:
            self._fail(_QUALITY, "evaluation", f"it cannot be judged: {case.no_data}")
        data = str(case.data)
        found.examples = _count(self._evaluated("candidate", data).get("examples"))
        if self._has_base:
            try:
                self._evaluated("base", data)
            except _RefusedError as error:
                self._has_base = False
                self._no_base = f"version {case.base_version} could not be judged: {error}"
        rows = rows_of(self._evaluated_figures())
        no_base = "" if self._has_base else self._no_base
        checks, notes = checks_of(rows, case.terms, no_base)
        found.checks += checks
        found.notes += notes

    def _evaluated(self, which: str, data: str) -> Message:
        try:
            return self._ask(_QUALITY, "evaluate", which=which, data=data)
        except _RefusedError as error:
            if which == "base":
                raise
            self._fail(_QUALITY, "evaluation", f"it cannot be judged: {error}")

    def _evaluated_figures(self) -> Message:
        try:
            return self._ask(_QUALITY, "figures")
        except _RefusedError as error:
            self._fail(_QUALITY, "evaluation", f"it cannot be judged: {error}")

    # Asking.

    def _fail(self, gate: Gate, name: str, words: str) -> NoReturn:
        self._found.checks.append(Check(gate, name, False, words))
        raise _UnfitError

    def _ask(
        self,
        gate: Gate,
        step: str,
        fds: Sequence[int] = (),
        running: Running | None = None,
        **said: Any,
    ) -> Message:
        """Raises _RefusedError, _UnfitError, _BaseDiedError, NotNowError."""
        try:
            left = self._until - self._mono()
            answer = self._child.ask({"do": step, **said}, fds, timeout=max(0.0, left))
        except ChildDiedError as death:
            # Nobody but the kernel sends SIGKILL, for want of memory, or we do: nobody waits.
            if step == "ready" or death.words == "SIGKILL":
                words = f"its process ended with {death.words}"
                raise NotNowError(words, broken=step != "ready") from death
            which = running.which if running is not None else said.get("which")
            if which == "base":
                raise _BaseDiedError(f"the process ended with {death.words}") from death
            version = self._case.candidate.version
            words = f"the process ended with {death.words} while version {version} was run"
            self._fail(gate, "runs", words)
        except TimeoutError:
            limit = self._settings.gates.timeout_s
            words = f"its gates took longer than {limit:g} s"
            # On another day, or by another limit, they may not.
            self._found.lasting = False
            self._fail(gate, "time", words)
        except (ChildFailedError, FramingError) as error:
            raise NotNowError(f"an internal error: {error}", broken=True) from error
        if "unjudged" in answer:
            # What is not installed today may be at the next start.
            self._found.lasting &= answer.get("missing") is not True
            raise _RefusedError(str(answer["unjudged"]))
        if "refused" in answer:
            raise _refused(answer["refused"])
        return answer


class _RefusedError(Exception):
    """The child could not do it, for what the version or the evaluation set is."""


def _refused(said: object) -> Exception:
    try:
        error = refusals.from_plain(said)
    except ValueError as odd:
        return NotNowError(f"its process answered nonsense: {odd}", broken=True)
    if isinstance(error, LoadError) and error.retry is Retry.LATER and not error.for_memory:
        return NotNowError(error.reason)
    words = error.reason if isinstance(error, LoadError) else str(error)
    return _RefusedError(words)


def _load(model: str, subject: Subject) -> dict[str, Any]:
    return {
        "name": model,
        "path": str(subject.path),
        "folder": str(subject.folder),
        "config": plain.to_plain(subject.config),
        "named": list(subject.named),
        "size": subject.size,
        "budget": subject.budget,
        "rows": subject.rows,
    }


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value <= pieces.MOST_EXAMPLES else 0
