"""One source in a thread of its own: looks when it is due or asked for, and posts what changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from serving.events import log
from serving.registry.configs import Configs
from serving.registry.schedule import Schedule
from serving.registry.snapshot import Closely, Snapshot, SourceError
from serving.registry.source import Posted, Request, Source

# A look that lasts longer is waited for no more: its disk or network hangs. After one that came to
# an end all the same, the next may last twice as long, up to the second figure.
STUCK_S = 20.0
_MOST_PATIENCE_S = 200.0
# Folders that a change was reported in and that are kept by name until the next look.
_MOST_TOUCHED = 1000
# Until a thread goes on that met an error of ours.
_AGAIN_S = 1.0
_FAILED = "cannot be looked at (an internal error)"
_STUCK = "does not answer"


class SourceThread:
    """``post`` gets a snapshot, its configurations read, from this thread: when it is another
    than the one before, when somebody asked for a look, and when one that was stuck has ended.

    ``mono`` and ``cpu`` are clocks in seconds, the second of the calling thread's CPU time.
    """

    def __init__(
        self,
        source: Source,
        configs: Configs,
        interval_s: float,
        post: Callable[[Posted], None],
        mono: Callable[[], float],
        cpu: Callable[[], float],
    ) -> None:
        self.source = source
        self._configs, self._post = configs, post
        self._mono, self._cpu = mono, cpu
        self._schedule = Schedule(interval_s)
        # As scanned, and with the configurations as it was posted.
        self._scanned: Snapshot | None = None
        self._last: Snapshot | None = None
        self._looked: float | None = None
        self._began: float | None = None
        self._patience_s = STUCK_S

        # Shared with who asks.
        self._lock = threading.Lock()
        self._request: Request | None = None
        self._watched: Closely = frozenset()
        self._hurried = False
        # Where something changed since the last look; None: it may be anywhere.
        self._touched: set[str] | None = set()
        self._reported = False
        self._asked = 0
        self._wake = threading.Event()
        self._stopping = False

    # From any thread.

    def start(self) -> None:
        threading.Thread(target=self._run, name="source", daemon=True).start()

    def stop(self) -> None:
        """Waits for nothing: a look may never end."""
        self._stopping = True
        self._wake.set()

    def ask(self, request: Request) -> int:
        """Have a look begin now, or as soon as the one under way has ended: the number under
        which it is answered."""
        with self._lock:
            self._asked += 1
            self._request = self._request.joined(request) if self._request else request
            number = self._asked
        self._wake.set()
        return number

    def hurry(self, touched: Collection[str] | None = None) -> None:
        """Something may have changed: look soon, not when it is due. ``touched``: in which
        folders; None: anywhere."""
        with self._lock:
            self._hurried = True
            if touched is None or self._touched is None:
                self._touched = None
            else:
                self._touched.update(touched)
                if len(self._touched) > _MOST_TOUCHED:
                    self._touched = None
        self._wake.set()

    def reports(self, reported: bool) -> None:
        """Whether every change is told of by ``hurry``, so far as the system knows."""
        with self._lock:
            self._reported = reported
        self._wake.set()

    def watch(self, closely: Closely) -> None:
        """What every look from now on goes through file by file."""
        with self._lock:
            self._watched = closely

    @property
    def looked(self) -> float | None:
        """When the last look that ended began, monotonic seconds."""
        return self._looked

    def stuck_at(self) -> float:
        """From when on the look under way lasts too long, monotonic seconds; one that begins now
        where there is none."""
        began = self._began
        return (self._mono() if began is None else began) + self._patience_s

    def stuck(self) -> Snapshot:
        """What is to be said of a source that does not answer."""
        return Snapshot(errors=(SourceError(self.source.place, _STUCK),))

    # Its own thread, or a test in its place.

    def _run(self) -> None:
        while not self._stopping:
            try:
                wait_s = self.turn()
            except Exception:  # noqa: BLE001 - without this thread nothing new would ever be seen
                log.exception("source_failed", path=str(self.source.place))
                # What was asked for is answered by the next look, also where it finds no news.
                self._last, wait_s = None, _AGAIN_S
            self._wake.wait(wait_s)

    def turn(self) -> float:
        """Look, if that is due or asked for. Seconds until the next look is due."""
        self._wake.clear()
        with self._lock:
            request, self._request = self._request, None
            number, watched = self._asked, self._watched
            hurried, self._hurried = self._hurried, False
            reported = self._reported
        self._schedule.reports(reported)
        if hurried:
            self._schedule.hurry(self._mono())
        if request is not None or self._mono() >= self._schedule.next:
            self._look(request or Request(), watched, number, asked=request is not None)
        return max(0.0, self._schedule.next - self._mono())

    def _look(self, request: Request, watched: Closely, number: int, *, asked: bool) -> None:
        before, cpu_before = self._mono(), self._cpu()
        everything, touched = self._extent(request, before)
        self._began = before
        try:
            snapshot = self._snapshot(request, watched, everything, touched)
        except Exception:  # noqa: BLE001 - a source's bug is its own trouble
            log.exception("source_failed", path=str(self.source.place))
            self._scanned = None
            snapshot = Snapshot(errors=(SourceError(self.source.place, _FAILED),))
        self._began, self._looked = None, before
        # Asked after that: whoever took it for stuck did so before.
        took = self._mono() - before
        was_stuck = took >= self._patience_s
        self._patience_s = min(max(STUCK_S, 2 * took), _MOST_PATIENCE_S)
        cost = self._cpu() - cpu_before
        self._schedule.looked(before, cost, snapshot.settles_in, everything=everything)
        if asked or was_stuck or snapshot != self._last:
            self._last = snapshot
            self._post(Posted(snapshot, number))

    def _extent(self, request: Request, now: float) -> tuple[bool, Collection[str]]:
        """Whether to look at everything, and in which folders there was a change."""
        with self._lock:
            touched, self._touched = self._touched, set()
        everything = (
            now >= self._schedule.everything_at
            or touched is None
            or self._scanned is None
            or request.configurations
        )
        return everything, touched or ()

    def _snapshot(
        self, request: Request, watched: Closely, everything: bool, touched: Collection[str]
    ) -> Snapshot:
        """The one before where nothing changed."""
        closely = {*watched, *request.closely}
        if request.configurations:
            # Before the scan, which may fail: what was asked for once is done with the next.
            self._configs.forget()
        scanned = self.source.scan(
            closely=closely, at_once=request.at_once, touched=touched, whole=everything
        )
        if not request.configurations and self._last is not None and scanned is self._scanned:
            return self._last
        self._scanned = scanned
        return self._configs.read_into(scanned)
