"""A source that is asked over a network: in a thread of its own, so that whoever looks at all
sources gets at once what was last found out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from serving.events import log
from serving.registry.snapshot import Closely, Snapshot, SourceError

# Until a thread goes on that met an error of ours.
_AGAIN_S = 5.0
# Between two looks, however many ask for one.
_APART_S = 0.1
_FAILED = "cannot be looked at (an internal error)"


@dataclass(frozen=True, slots=True)
class Looked:
    """``next_s``: seconds until it is time to look again."""

    snapshot: Snapshot
    next_s: float


class PolledSource:
    """See ``Source``. ``look`` is asked in this source's own thread, and may wait for what it
    asks; it is given the models of which somebody says that they are there and whole.
    ``patience_s``: for how long who says so is kept waiting for a look that may show it, 15 s at
    most; meanwhile a scan says ``pending`` of these models. ``kept``: what an earlier process left,
    which is told where the first look takes longer than ``first_s``, if that is anything.
    ``discovers``: a model that nobody has heard of may be there by now."""

    def __init__(
        self,
        place: Path,
        look: Callable[[Collection[str]], Looked],
        patience_s: float,
        kept: Callable[[], Snapshot] = Snapshot,
        first_s: float = 10.0,
        *,
        discovers: bool = False,
    ) -> None:
        self.place = place
        self._look, self._patience_s = look, min(patience_s, 15.0)
        self._kept, self._first_s, self._discovers = kept, first_s, discovers
        self._early: Snapshot | None = None
        # Called where something else was found than before, or what somebody waits for.
        self.on_news: Callable[[], None] = _nothing
        self._changed = threading.Condition()
        self._snapshot: Snapshot | None = None
        self._asked = self._answered = 0
        self._at_once: set[str] = set()
        # Models that somebody waits for: the look that answers, and until when (monotonic).
        self._waited: dict[str, tuple[int, float]] = {}
        self._stopping = False
        self._thread: threading.Thread | None = None

    # From any thread.

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=str(self.place), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Waits for nothing: a look may last."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def hint(self, at_once: Collection[str] = ()) -> int:
        """Something may have changed: look now. ``at_once``: models of which somebody says that
        they are there. The number under which that is answered."""
        with self._changed:
            self._asked += 1
            self._at_once.update(at_once)
            self._changed.notify_all()
            return self._asked

    # The thread that looks at all sources.

    def scan(
        self,
        closely: Closely = (),
        at_once: Closely = (),
        *,
        touched: Collection[str] = (),
        whole: bool = True,
    ) -> Snapshot:
        """See ``Source``. Only the first one waits for a look to end."""
        if (snapshot := self._first()) is None:
            return self._early or Snapshot()
        named = {one if isinstance(one, str) else one[0] for one in at_once}
        known = {found.name for found in snapshot.models}
        if ours := named if self._discovers else named & known:
            number, until = self.hint(ours), time.monotonic() + self._patience_s
            with self._changed:
                self._waited.update((name, (number, until)) for name in ours)
        return self._with_pending()

    def _with_pending(self) -> Snapshot:
        """What was last found, and which models somebody waits for."""
        with self._changed:
            now, answered = time.monotonic(), self._answered
            self._waited = {
                name: (number, until)
                for name, (number, until) in self._waited.items()
                if number > answered and until > now and not self._stopping
            }
            snapshot = self._snapshot or Snapshot()
            if not self._waited:
                return snapshot
            rest = min(until for _, until in self._waited.values()) - now
            return replace(snapshot, pending=frozenset(self._waited), settles_in=rest)

    def _first(self) -> Snapshot | None:
        """What was last found; None where nothing was yet, and what was kept is told."""
        with self._changed:
            if self._early is None:
                self._changed.wait_for(self._has_begun, self._first_s)
            if self._has_begun():
                return self._snapshot
        if self._early is None:
            self._early = self._kept()
        if self._early.models:
            return None
        with self._changed:
            self._changed.wait_for(self._has_begun)
            return self._snapshot

    def _has_begun(self) -> bool:
        return self._snapshot is not None or self._stopping

    # Its own.

    def _run(self) -> None:
        while not self._stopping:
            with self._changed:
                number = self._asked
                at_once, self._at_once = self._at_once, set()
            looked = self._looked(at_once)
            with self._changed:
                before, self._snapshot = self._snapshot, looked.snapshot
                if before == looked.snapshot:
                    self._snapshot = before  # whoever compares it is done
                self._answered = number
                awaited = bool(self._waited)
                self._changed.notify_all()
            if awaited or before != looked.snapshot:
                self.on_news()
            time.sleep(_APART_S)
            self._wait(number, looked.next_s)

    def _wait(self, number: int, seconds: float) -> None:
        """Until somebody asks for another look than this, or it is time."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked > number or self._stopping, seconds)

    def _looked(self, at_once: Collection[str]) -> Looked:
        try:
            return self._look(at_once)
        except Exception:  # noqa: BLE001 - without this thread nothing new would ever be seen
            log.exception("source_failed", path=str(self.place))
            before = self._snapshot or Snapshot()
            error = SourceError(self.place, _FAILED)
            return Looked(Snapshot(before.models, before.ignored, (error,)), _AGAIN_S)


def _nothing() -> None:
    pass
