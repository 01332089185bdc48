"""The thread that writes back to MLflow's registry, and what it is told."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from serving.backoff import wait_s
from serving.counters import Counters
from serving.events import log
from serving.gates.verdict import Verdict
from serving.mlflow_rest import MlflowError, OneError, RefusedError
from serving.models.state import Slot
from serving.models.views import Changes, ModelView
from serving.registry.mlflow.answers import RegisteredVersion
from serving.registry.snapshot import Origin
from serving.rollout.canary import Phase, Rollout
from serving.state_dir import StateDir
from serving.write_back.book import Book
from serving.write_back.judgement import Judgement, judgement_of
from serving.write_back.kept import Kept
from serving.write_back.promotion import Outcome, Promotion, promoted
from serving.write_back.terms import Terms
from serving.write_back.writing import Calls, write_alias, write_judgement, write_tags

_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
KINDS = ("alias", "tags", "verdict")


@dataclass(frozen=True, slots=True)
class Registry:
    """``uri``: without secrets. ``connect``: makes the calls, for one thread. ``registered``: the
    version that a number and an origin are of, None where they are not the registry's. ``named``:
    the version that an alias of a model named at the last look. ``hint``: something has changed
    there."""

    uri: str
    connect: Callable[[], Calls]
    registered: Callable[[str, int, Origin], RegisteredVersion | None]
    named: Callable[[str, str], int | None]
    hint: Callable[[], object]


@dataclass(frozen=True, slots=True)
class WriteBackStatus:
    """``waiting``: promotions and judgements with something to be written; ``failures``: attempts.
    Times are seconds since the epoch; ``error`` "" while it works."""

    target: str
    terms: Terms
    promotions: tuple[Promotion, ...]
    waiting: int
    failures: int
    last_success: float | None
    last_failure: float | None
    error: str
    last_error: str


class WriteBack:
    """Told from any thread, none of which waits for the registry.

    ``view``: a model as it stands. ``wall`` and ``mono``: seconds.
    """

    def __init__(
        self,
        registry: Registry,
        terms: Terms,
        book: Book,
        view: Callable[[str], ModelView | None],
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._registry, self._terms, self._book, self._view = registry, terms, book, view
        self._mono, self._wall = mono, wall
        self.outcomes = Counters((kind, one) for kind in KINDS for one in Outcome)
        self._lock = threading.Condition()
        self._stopping = self._said_less = False
        self._news = True
        self._failures = self._in_turn = 0
        self._last_success: float | None = None
        self._last_failure: float | None = None
        self._last_error = ""
        self._calls: Calls | None = None
        self._taken: StateDir | None = None
        # What the server did not answer last, which may be what is wrong with it.
        self._stuck: tuple[object, ...] = ()
        self._thread = threading.Thread(target=self._run, name="write-back", daemon=True)

    # From any thread.

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """What is not written stays kept for the next start."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._keep_judgements()

    def take_state(self, state: StateDir) -> None:
        """Go on with what another gateway has left there, and keep all there from now on. Waits for
        nothing."""
        self._taken = state
        self._tell()

    def on_rollout(self, former: Rollout | None, rollout: Rollout) -> None:
        """A rollout is somewhere else than before. It is kept before this returns."""
        was = former is not None and former.phase is Phase.PROMOTED
        if rollout.phase is not Phase.PROMOTED or was or not self._terms.of_promotions:
            return
        model, view = rollout.model, self._view(rollout.model)
        if view is None or self._found(view, rollout.candidate) is None:
            return
        alias = self._terms.alias
        named = self._registry.named(model, alias) if alias else None
        tags = self._terms.tags
        self._book.promote(model, lambda before: promoted(rollout, alias, tags, named, before))
        self._tell()

    def _found(self, view: ModelView, number: int) -> RegisteredVersion | None:
        origins = (one.origin for one in view.versions if one.number == number)
        found = (self._registry.registered(view.name, number, origin) for origin in origins)
        return next(filter(None, found), None)

    def on_change(self, changes: Changes) -> None:
        """In the manager's loop."""
        for model, view in changes.items():
            # Most models have no promotion.
            if view is not None and self._book.knows(model) and self._book.route(model, view):
                self._tell()

    def on_verdict(self, slot: Slot, verdict: Verdict) -> None:
        """In the manager's loop."""
        if not self._terms.verdicts:
            return
        found = self._registry.registered(slot.model, slot.version, slot.origin)
        if found is None:
            return
        if self._terms.note and not self._said_less:
            self._said_less = True
            log.warning("write_back_less", reason=self._terms.note)
        self._book.judge(judgement_of(slot.model, slot.version, found.run_id, verdict))
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            self._news = True
            self._lock.notify_all()

    def status(self) -> WriteBackStatus:
        promotions = self._book.promotions()
        return WriteBackStatus(
            target=self._registry.uri,
            terms=self._terms,
            promotions=promotions,
            waiting=sum(one.waits for one in promotions) + len(self._book.judgements()),
            failures=self._failures,
            last_success=self._last_success,
            last_failure=self._last_failure,
            error=self._last_error if self._in_turn else "",
            last_error=self._last_error,
        )

    # Its own thread.

    def _run(self) -> None:
        again = self._mono()
        while self._awaited(again):
            self._take()
            self._keep_judgements()
            if self._in_turn and self._mono() < again:
                continue
            again = self._mono() + self.attempt()
        if self._calls is not None:
            self._calls.close()

    def _awaited(self, again: float) -> bool:
        """Wait for news, or for the time of the next attempt; False at the end."""
        with self._lock:
            while not (self._stopping or self._news):
                left = again - self._mono()
                if left <= 0:
                    break
                self._lock.wait(min(left, 3600.0))
            self._news = False
            return not self._stopping

    def _take(self) -> None:
        state, self._taken = self._taken, None
        if state is None:
            return
        for model in self._book.take_over(Kept(state, self._registry.uri)):
            # Its route may be another since.
            if (view := self._view(model)) is not None:
                self._book.route(model, view)

    def _keep_judgements(self) -> None:
        for key in self._book.keep_judgements():
            self._note("verdict", Outcome.DROPPED, *key, words="too many wait to be written")

    def attempt(self) -> float:
        """Write all there is; seconds until it should be tried again."""
        try:
            wrong = self._write_all()
        except MlflowError as error:
            wrong = str(error)
        except Exception as error:  # noqa: BLE001 - a fault here must not end the thread
            wrong = self._fault(error)
        return self._worked() if wrong is None else self._failed(wrong)

    def _write_all(self) -> str | None:
        """Why some could not be written; None: all was. Raises MlflowError where the server does
        not answer."""
        promotions = [one for one in self._book.promotions() if one.waits]
        judgements = self._book.judgements()
        if not (promotions or judgements):
            return None
        calls = self._calls = self._calls or self._registry.connect()
        work: dict[tuple[object, ...], Callable[[], None]] = {
            (one.model,): partial(self._write_promotion, calls, one) for one in promotions
        }
        for one in judgements:
            work[one.model, one.version] = partial(self._write_judgement, calls, one)
        # Those behind it are not kept back by it for ever.
        keys = list(work)
        first = keys.index(self._stuck) + 1 if self._stuck in work else 0
        wrong: str | None = None
        for key in keys[first:] + keys[:first]:
            do = work[key]
            if self._stopping:
                return wrong
            try:
                do()
            except OneError as error:
                # Of the others it says nothing.
                wrong = wrong or str(error)
            except MlflowError:
                self._stuck = key
                raise
            except Exception as error:  # noqa: BLE001 - the others are written all the same
                wrong = wrong or self._fault(error)
            else:
                self._last_success = self._wall()
        return wrong

    # Promotions.

    def _write_promotion(self, calls: Calls, one: Promotion) -> None:
        if one.alias is not None and not one.alias.done:
            one = self._write_alias(calls, one)
        if one.tags is not None and not one.tags.done:
            self._write_tags(calls, one)

    def _write_alias(self, calls: Calls, one: Promotion) -> Promotion:
        assert one.alias is not None
        mark = one.alias
        kept = _Keeping(self._book, one)
        try:
            step = write_alias(calls, one, mark, kept)
        except RefusedError as error:
            words = f"alias '{mark.name}' could not be written: MLflow {error}"
            after = replace(one, alias=replace(mark, done=True), said=words)
            kept(after)
            self._note("alias", Outcome.REFUSED, one.model, one.candidate, words)
            return kept.last
        if not kept(step.after):
            self._tell()
        else:
            if step.words:
                self._note("alias", step.outcome, one.model, one.candidate, step.words)
            if step.outcome is Outcome.WRITTEN:
                self._registry.hint()
        return kept.last

    def _write_tags(self, calls: Calls, one: Promotion) -> None:
        assert one.tags is not None
        kept = _Keeping(self._book, one)
        try:
            after, outcome, words = write_tags(calls, one, one.tags, kept)
        except RefusedError as error:
            words = f"tags could not be written: MLflow {error}"
            done = kept.last.tags or one.tags
            kept(replace(kept.last, tags=replace(done, done=True)))
            self._note("tags", Outcome.REFUSED, one.model, one.candidate, words)
            return
        if not kept(after):
            self._tell()
        elif words or one.stands:
            self._note("tags", outcome, one.model, one.candidate, words)

    # Judgements.

    def _write_judgement(self, calls: Calls, one: Judgement) -> None:
        try:
            outcome, words = write_judgement(calls, one, self._terms.verdict_tag)
        except RefusedError as error:
            outcome, words = Outcome.REFUSED, f"a verdict could not be written: MLflow {error}"
        if self._book.written(one):
            self._note("verdict", outcome, one.model, one.version, words)
        else:
            self._tell()

    # What came of it.

    def _note(self, kind: str, outcome: Outcome, model: str, version: int, words: str) -> None:
        self.outcomes.add(kind, outcome)
        lost = outcome in (Outcome.LEFT_ALONE, Outcome.REFUSED, Outcome.DROPPED)
        say = log.warning if lost else log.info
        say("write_back", model=model, version=version, what=kind, outcome=outcome, reason=words)

    def _fault(self, error: Exception) -> str:
        log.exception("write_back_fault", reason=repr(error))
        return "an internal error"

    def _worked(self) -> float:
        if self._in_turn:
            log.info("write_back_recovered", attempts=self._in_turn)
        self._in_turn = 0
        return float("inf")

    def _failed(self, words: str) -> float:
        self._failures += 1
        self._in_turn += 1
        self._last_failure, self._last_error = self._wall(), words
        if self._in_turn == 1:
            effect = "what is to be written is kept and tried again"
            log.warning("write_back_failed", reason=words, effect=effect)
        return wait_s(self._in_turn, _FIRST_WAIT_S, _LONGEST_WAIT_S, random.random())


class _Keeping:
    """``last``: the promotion as it was kept last; called as ``Keep``."""

    def __init__(self, book: Book, one: Promotion) -> None:
        self._book, self.last = book, one

    def __call__(self, after: Promotion) -> bool:
        if not self._book.replace(self.last, after):
            return False
        self.last = after
        return True
