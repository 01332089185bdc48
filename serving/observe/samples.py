"""The one taker of sampled requests, and those who want some of them.

The core samples a version at the largest rate that a subscriber asks for; whoever asks for less
gets its share of them. Statistics get so many a second beside, whatever the others ask for.
Samples come once ``watch`` has seen ready versions.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from serving.events import log
from serving.models.state import State
from serving.models.views import Changes, ModelView, VersionView

if TYPE_CHECKING:
    from serving import _core

_PULL_S = 1.0


class SampleSource(Protocol):
    """What the hub needs of ``_core.Server``."""

    def samples(self, timeout: float) -> Sequence[_core.Sample] | None: ...


class Sampled(Protocol):
    """What the hub needs of ``_core.Queue``."""

    def sample(self, rate: float) -> None: ...

    def sample_for_statistics(self, per_second: float) -> None: ...


class Taker(Protocol):
    """Whoever wants samples. ``watch`` and what says how many are called by the thread that draws
    the models, the others by the hub's, so each keeps the others waiting; what they are too slow
    for the core drops and counts (fault 100)."""

    def watch(self, changed: Changes) -> None:
        """The models that are other than before, before the first sample of any of them."""

    def begin(self) -> None:
        """Before the first samples."""

    def keep(self, samples: Sequence[_core.Sample]) -> None: ...

    def end(self) -> None:
        """After the last."""


class Subscriber(Taker, Protocol):
    """One that wants a share of the requests."""

    @property
    def keeps_anomalies(self) -> bool:
        """Whether it wants beside its share, of each version of which it wants any, those that the
        core keeps since they are not as their model's schema says."""
        ...

    def rate(self, version: VersionView) -> float:
        """The share of its requests that is wanted, 0 to 1."""


class Paced(Taker, Protocol):
    """One that wants so many a second: the statistics."""

    def per_second(self, version: VersionView) -> float:
        """How many of its requests a second are wanted; infinity: all of them."""


class Samples:
    """Pulls samples in a thread of its own and hands them to all subscribers. ``at_once``: from
    the start; else from when something is sampled."""

    def __init__(
        self,
        source: SampleSource,
        subscribers: Sequence[Subscriber],
        *,
        paced: Paced | None = None,
        at_once: bool = True,
    ) -> None:
        self._source, self._subscribers, self._paced = source, tuple(subscribers), paced
        self._takers = (*subscribers, *([paced] if paced is not None else ()))
        self._at_once = at_once
        # Whether it was started, and anything is sampled.
        self._going = self._any = False
        # The models as they were seen last, for ``renew``; held by who sets rates.
        self._views: dict[str, ModelView] = {}
        self._lock = threading.Lock()
        # By model and version.
        self._set: dict[str, dict[int, tuple[Sampled, float, float]]] = {}
        # Of what is sampled, what each subscriber gets; a model's are replaced as a whole.
        self._shares: dict[str, Mapping[int, tuple[float, ...]]] = {}
        self._random = random.Random()
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)

    def start(self) -> None:
        with self._lock:
            self._going = True
            if self._at_once or self._any:
                self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Wait until what was sampled is kept; the server must have been stopped."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def watch(self, changed: Changes) -> None:
        """A listener of the manager's views."""
        with self._lock:
            for one in self._takers:
                one.watch(changed)
            for name, view in changed.items():
                if view is None:
                    for known in (self._shares, self._set, self._views):
                        known.pop(name, None)
                else:
                    self._views[name] = view
                    self._watch_model(view)

    def renew(self, model: str) -> None:
        """A subscriber asks for another rate than before. From any thread."""
        with self._lock:
            if (view := self._views.get(model)) is not None:
                self._watch_model(view)

    def _watch_model(self, view: ModelView) -> None:
        current: dict[int, tuple[Sampled, float, float]] = {}
        shares: dict[int, tuple[float, ...]] = {}
        for number, queue, version in _ready(view):
            rates = [one.rate(version) for one in self._subscribers]
            most = max(rates, default=0.0)
            paced = self._paced.per_second(version) if self._paced is not None else 0.0
            current[number] = (queue, most, paced)
            shares[number] = tuple(rate / (most or 1.0) for rate in rates)
        self._shares[view.name] = shares
        before = self._set.get(view.name, {})
        self._set[view.name] = current
        for number, wanted in current.items():
            _tell(before.get(number), wanted)
        self._any |= any(rate or paced for _, rate, paced in current.values())
        if self._any and self._going and self._thread.ident is None:
            self._thread.start()

    def _run(self) -> None:
        for one in self._takers:
            one.begin()
        while (samples := self._source.samples(_PULL_S)) is not None:
            self._hand_out(samples)
        for one in self._takers:
            one.end()

    def _hand_out(self, samples: Sequence[_core.Sample]) -> None:
        for place, one in enumerate(self._subscribers):
            alone = len(self._takers) == 1 and one.keeps_anomalies
            _give(one, samples, None if alone else partial(self._gets, place, one))
        if self._paced is not None:
            _give(self._paced, samples, lambda sample: sample.for_statistics)

    def _gets(self, place: int, one: Subscriber, sample: _core.Sample) -> bool:
        share = self._share(place, sample)
        if sample.for_anomaly and one.keeps_anomalies and share:
            return True
        return sample.drawn and (len(self._subscribers) == 1 or self._random.random() < share)

    def _share(self, place: int, sample: _core.Sample) -> float:
        """All, of a version that left meanwhile."""
        shares = self._shares.get(sample.model, {}).get(sample.version)
        return 1.0 if shares is None else shares[place]


def _tell(
    before: tuple[Sampled, float, float] | None, wanted: tuple[Sampled, float, float]
) -> None:
    """A queue, what is other than it knows; a new one has none of it."""
    queue, rate, paced = wanted
    is_known = before is not None and before[0] is queue
    if before is None or not is_known or before[1] != rate:
        queue.sample(rate)
    if paced if before is None or not is_known else before[2] != paced:
        queue.sample_for_statistics(paced)


def _give(
    taker: Taker, samples: Sequence[_core.Sample], gets: Callable[[_core.Sample], bool] | None
) -> None:
    """``gets``: whether one is for it; None: all are."""
    try:
        taker.keep(samples if gets is None else [one for one in samples if gets(one)])
    except Exception:  # noqa: BLE001 - a bug in one must not keep samples from others
        log.exception("samples_not_kept")


def _ready(view: ModelView) -> list[tuple[int, Sampled, VersionView]]:
    return [
        (version.number, version.queue, version)
        for version in view.versions
        if version.queue is not None and version.state is State.READY
    ]
