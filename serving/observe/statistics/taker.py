"""Takes samples for statistics off the hub's hands; what makes them is there from the first on.

Most of the code for them, and TFX's messages, take a while to be imported: a gateway that starts
does not wait for that.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.delivery.features import Pair, Step
from serving.events import log
from serving.loading.low_priority import run_low_priority
from serving.models.views import Changes, VersionView
from serving.observe.figures import Key
from serving.observe.statistics.known import Known
from serving.observe.statistics.labels import Labels, labels_of
from serving.observe.statistics.mailbox import Mailbox
from serving.rollout.features import Apart
from serving.settings import Settings
from serving.state_dir import StateDir

if TYPE_CHECKING:
    from serving import _core
    from serving.observe.statistics.book import Page
    from serving.observe.statistics.collector import Collector

# Samples that wait, and bytes of their tensors.
_MOST_WAITING, _MOST_WAITING_BYTES = 4096, 64 * 1024 * 1024
_GATHER_S = 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Samples since the start: that statistics were made of, and dropped, by reason. ``nbytes``: of
    all windows in memory, and of what they are held against."""

    samples: int
    dropped: Mapping[str, int]
    nbytes: int


class Statistics:
    """A taker of samples. ``state``: where windows outlive the process; ``clock``: seconds since
    the epoch; ``gather_s``: how long samples are gathered before they are counted."""

    def __init__(
        self,
        settings: Settings,
        state: StateDir,
        *,
        clock: Callable[[], float] = time.time,
        gather_s: float = _GATHER_S,
    ) -> None:
        self._settings, self._state = settings.statistics, state
        self._clock, self._gather_s = clock, gather_s
        self._known = Known(settings.request_log.redact)
        self._mailbox = Mailbox(_MOST_WAITING, _MOST_WAITING_BYTES)
        self._made: Collector | None = None
        self._making = threading.Lock()
        self._thread = threading.Thread(
            target=lambda: run_low_priority(self._run), name="statistics", daemon=True
        )

    # The hub's side: nothing here waits for the thread.

    def watch(self, changed: Changes) -> None:
        """See ``Taker``."""
        self._known.watch(changed)

    def per_second(self, version: VersionView) -> float:
        """See ``Paced``."""
        return self._settings.samples_per_second or math.inf

    def begin(self) -> None:
        """See ``Taker``."""
        self._thread.start()

    def keep(self, samples: Sequence[_core.Sample]) -> None:
        """See ``Taker``."""
        if samples:
            self._mailbox.put(samples)

    def end(self, timeout: float = 5.0) -> None:
        """See ``Taker``: what waits is counted, and everything written down."""
        self._mailbox.end()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            effect = "of some versions the last minutes may be lost"
            log.warning("statistics_not_ended", seconds=timeout, effect=effect)

    def _run(self) -> None:
        if self._mailbox.wait(None):
            self.collector.run()

    # Of rollouts' steps: see ``StepStatistics``.

    def follow(self, steps: Mapping[Pair, Step]) -> None:
        if steps or self._made is not None:
            self.collector.follow(steps)

    def counted(self, pair: Pair) -> tuple[int, int] | None:
        return self.collector.counted(pair)

    def farthest(self, pair: Pair, chance: float) -> Mapping[str, Apart]:
        return self.collector.farthest(pair, chance)

    # From any thread.

    @property
    def collector(self) -> Collector:
        """Made when it is first asked for."""
        with self._making:
            if self._made is None:
                from serving.observe.statistics.collector import Collector

                self._made = Collector(
                    *(self._settings, self._state, self._known, self._mailbox),
                    clock=self._clock,
                    gather_s=self._gather_s,
                )
            return self._made

    def figures(self) -> Figures:
        made = self._made.made() if self._made is not None else None
        left_out = made.left_out if made is not None else {"memory": 0, "error": 0}
        dropped = {"queue": self._mailbox.dropped, **left_out}
        return Figures(made.samples, dropped, made.nbytes) if made else Figures(0, dropped, 0)

    def pages(self, of: Callable[[Key, Page], Any]) -> list[Any]:
        """See ``Collector``; nothing before the first sample."""
        return self._made.pages(of) if self._made is not None else []

    def is_there(self, key: Key) -> bool:
        return self._known.version(key) is not None

    def hides(self, key: Key) -> Callable[[str], bool]:
        """Whether a feature of a name is redacted, and so what was kept of it is not told."""
        return self._known.features(key).hides

    def labels(self, key: Key, message: Any) -> Labels:
        """See ``labels_of``."""
        return labels_of(self._known, key, message)
