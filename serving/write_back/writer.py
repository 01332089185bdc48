"""The thread that writes back to MLflow's registry, and what it is told."""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
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
from serving.write_back.judgement import Judgement, judgement_of
from serving.write_back.kept import Kept
from serving.write_back.promotion import Outcome, Promotion, promoted, routed
from serving.write_back.terms import Terms
from serving.write_back.writing import Calls, write_alias, write_judgement, write_tags

# Judgements that wait at once; the oldest go.
MOST_JUDGEMENTS = 1000
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
        kept: Kept,
        view: Callable[[str], ModelView | None],
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._registry, self._terms, self._kept, self._view = registry, terms, kept, view
        self._mono, self._wall = mono, wall
        self.outcomes = Counters((kind, one) for kind in KINDS for one in Outcome)
        promotions, judgements = kept.read()
        self._promotions = promotions
        self._judgements = OrderedDict(judgements)
        # Of which what is kept is not what is known.
        self._unkept: set[tuple[str, int]] = set()
        self._lock = threading.Condition()
        self._stopping = False
        self._news = True
        self._failures = self._in_turn = 0
        self._last_success: float | None = None
        self._last_failure: float | None = None
        self._last_error = ""
        self._calls: Calls | None = None
        self._thread = threading.Thread(target=self._run, name="write-back", daemon=True)

    # From any thread.

    def start(self) -> None:
        if self._terms.note:
            log.warning("write_back_less", reason=self._terms.note)
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """What is not written stays kept for the next start."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._keep_judgements()

    def on_rollout(self, before: Rollout | None, rollout: Rollout) -> None:
        """A rollout is somewhere else than before. It is kept before this returns."""
        was = before is not None and before.phase is Phase.PROMOTED
        if rollout.phase is not Phase.PROMOTED or was or not self._terms.of_promotions:
            return
        model, view = rollout.model, self._view(rollout.model)
        if view is None or self._found(view, rollout.candidate) is None:
            return
        alias = self._terms.alias
        named = self._registry.named(model, alias) if alias else None
        with self._lock:
            former = self._promotions.get(model)
            one = promoted(rollout, alias, self._terms.tags, named, former)
            self._promotions[model] = one
            self._kept.write_promotion(one)
            self._tell()

    def _found(self, view: ModelView, number: int) -> RegisteredVersion | None:
        origins = (one.origin for one in view.versions if one.number == number)
        found = (self._registry.registered(view.name, number, origin) for origin in origins)
        return next(filter(None, found), None)

    def on_change(self, changes: Changes) -> None:
        """In the manager's loop."""
        for model, view in changes.items():
            before = self._promotions.get(model)
            if before is None or view is None:
                continue
            with self._lock:
                before = self._promotions[model]
                one = routed(before, view)
                if one != before:
                    self._promotions[model] = one
                    self._kept.write_promotion(one)
                    self._tell()

    def on_verdict(self, slot: Slot, verdict: Verdict) -> None:
        """In the manager's loop."""
        if not self._terms.verdicts:
            return
        found = self._registry.registered(slot.model, slot.version, slot.origin)
        if found is None:
            return
        one = judgement_of(slot.model, slot.version, found.run_id, verdict)
        key = (slot.model, slot.version)
        with self._lock:
            self._judgements[key] = one
            self._judgements.move_to_end(key)
            self._unkept.add(key)
            self._tell()

    def _tell(self) -> None:
        self._news = True
        self._lock.notify_all()

    def status(self) -> WriteBackStatus:
        with self._lock:
            promotions = tuple(self._promotions[model] for model in sorted(self._promotions))
            return WriteBackStatus(
                target=self._registry.uri,
                terms=self._terms,
                promotions=promotions,
                waiting=sum(one.waits for one in promotions) + len(self._judgements),
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

    def _keep_judgements(self) -> None:
        """Too many are dropped, the oldest first."""
        with self._lock:
            dropped = []
            while len(self._judgements) > MOST_JUDGEMENTS:
                dropped.append(self._judgements.popitem(last=False)[0])
            unkept, self._unkept = self._unkept, set()
            waiting = [self._judgements[key] for key in unkept if key in self._judgements]
        for key in dropped:
            self._kept.forget_judgement(*key)
            self._note("verdict", Outcome.DROPPED, *key, words="too many wait to be written")
        for one in waiting:
            self._kept.write_judgement(one)

    def attempt(self) -> float:
        """Write all there is; seconds until it should be tried again."""
        try:
            if (wrong := self._write_all()) is None:
                return self._worked()
            return self._failed(wrong)
        except MlflowError as error:
            return self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - a fault here must not end the thread
            log.exception("write_back_fault", reason=repr(error))
            return self._failed("an internal error")

    def _write_all(self) -> str | None:
        """Why some could not be written; None: all was. Raises MlflowError where the server does
        not answer."""
        with self._lock:
            promotions = [one for one in self._promotions.values() if one.waits]
            judgements = list(self._judgements.values())
        if not (promotions or judgements):
            return None
        calls = self._calls = self._calls or self._registry.connect()
        work = [partial(self._write_promotion, calls, one) for one in promotions]
        work += [partial(self._write_judgement, calls, one) for one in judgements]
        wrong: str | None = None
        for do in work:
            if self._stopping:
                return wrong
            try:
                do()
            except OneError as error:
                # Of the others it says nothing.
                wrong = wrong or str(error)
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
        kept = _Keeping(self, one)
        try:
            step = write_alias(calls, one, mark, kept)
        except RefusedError as error:
            words = f"alias '{mark.name}' could not be written: MLflow {error}"
            after = replace(one, alias=replace(mark, done=True), said=words)
            kept(after)
            self._note("alias", Outcome.REFUSED, one.model, one.candidate, words)
            return kept.last
        if kept(step.after):
            if step.words:
                self._note("alias", step.outcome, one.model, one.candidate, step.words)
            if step.outcome is Outcome.WRITTEN:
                self._registry.hint()
        return kept.last

    def _write_tags(self, calls: Calls, one: Promotion) -> None:
        assert one.tags is not None
        kept = _Keeping(self, one)
        try:
            after, outcome, words = write_tags(calls, one, one.tags, kept)
        except RefusedError as error:
            words = f"tags could not be written: MLflow {error}"
            kept(replace(one, tags=replace(one.tags, done=True)))
            self._note("tags", Outcome.REFUSED, one.model, one.candidate, words)
            return
        if kept(after) and (words or one.stands):
            self._note("tags", outcome, one.model, one.candidate, words)

    def replace_promotion(self, before: Promotion, after: Promotion) -> bool:
        """Keep it, where it is still the one that was begun with."""
        with self._lock:
            if self._promotions.get(before.model) != before:
                self._news = True
                return False
            self._promotions[before.model] = after
            if after != before:
                self._kept.write_promotion(after)
        return True

    # Judgements.

    def _write_judgement(self, calls: Calls, one: Judgement) -> None:
        try:
            outcome, words = write_judgement(calls, one, self._terms.verdict_tag), one.word
        except RefusedError as error:
            outcome, words = Outcome.REFUSED, f"a verdict could not be written: MLflow {error}"
        key = (one.model, one.version)
        with self._lock:
            if self._judgements.get(key) is not one:
                self._news = True
                return
            del self._judgements[key]
        self._kept.forget_judgement(*key)
        self._note("verdict", outcome, *key, words=words)

    # What came of it.

    def _note(self, kind: str, outcome: Outcome, model: str, version: int, words: str) -> None:
        self.outcomes.add(kind, outcome)
        lost = outcome in (Outcome.LEFT_ALONE, Outcome.REFUSED, Outcome.DROPPED)
        say = log.warning if lost else log.info
        say("write_back", model=model, version=version, what=kind, outcome=outcome, reason=words)

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

    def __init__(self, write_back: WriteBack, one: Promotion) -> None:
        self._write_back, self.last = write_back, one

    def __call__(self, after: Promotion) -> bool:
        if not self._write_back.replace_promotion(self.last, after):
            return False
        self.last = after
        return True
