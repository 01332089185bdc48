"""The trial: a new version is loaded, run and measured in a child process first.

So a file that crashes onnxruntime's parser, or that eats memory, ends a child and never the
server. A child is used again for the next version while it is well, for its imports take
most of a second; it goes when nothing was tried for a while.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.errors import LoadError
from serving.events import log
from serving.execution.isolation.child import Child, ChildDiedError, ChildFailedError
from serving.execution.isolation.framing import FramingError, Message
from serving.execution.session import is_for_cpu
from serving.model_config import plain
from serving.model_config.schema import ModelConfig
from serving.models.loading import findings, memory
from serving.models.loading.batching.analysis import Analysis
from serving.models.loading.findings import Failure, Findings
from serving.settings import Settings

NICENESS = 10
IDLE_S = 5.0
# Started ahead of the first trial: the registry may need a while to be settled.
PREPARED_S = 20.0
_LOOK_S = 0.05
_DROP_S = 10.0
_MODULE = "serving.models.loading.trial_child"

_LOAD, _SAMPLES, _REHEARSE = "load", "samples", "rehearse"
_WHILE = {_LOAD: "while it was loaded", _SAMPLES: "while it ran the user's sample"}


class LoadCancelledError(LoadError):
    """The version is no longer wanted; nothing was kept."""

    def __init__(self) -> None:
        super().__init__("the load was cancelled: the version is no longer wanted")


@dataclass(frozen=True, slots=True)
class Job:
    """What to try. ``folder`` is the model's own, ``named`` the manifest's samples, ``size``
    the bytes of its files, ``budget`` the memory that it may take."""

    name: str
    version: int
    path: Path
    folder: Path
    config: ModelConfig
    settings: Settings
    named: tuple[str, ...]
    size: int
    budget: int


def is_wanted(config: ModelConfig, settings: Settings) -> bool:
    """Whether versions of this model are tried: `auto` means, on the CPU. On a GPU a trial
    would need room for the model twice."""
    if settings.loading.trial != "auto":
        return settings.loading.trial == "on"
    return is_for_cpu(config, settings)


class Trial:
    """Children that try versions; at most one is kept between two trials."""

    def __init__(self, spawn: Callable[[], Child] | None = None, idle_s: float = IDLE_S) -> None:
        self._spawn = spawn or _spawned
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: Child | None = None
        self._timer: threading.Timer | None = None
        self._closed = False

    def prepare(self) -> None:
        """Start a child for the first trial, and return before it is ready."""
        with contextlib.suppress(OSError):  # the first trial will say so
            self._keep(self._spawn(), PREPARED_S)

    def close(self) -> None:
        """End the child that is kept."""
        with self._lock:
            self._closed = True
        self._end_idle()

    def run(self, job: Job, cancelled: Callable[[], bool]) -> Findings | Failure:
        """What became of the version: findings, or a failure that another try would repeat.

        Raises LoadError for what may go better another time (its cause is an OSError or
        MemoryError) or took too long; LoadCancelledError.
        """
        try:
            child = self._take()
        except OSError as error:
            raise LoadError("no process could be started for its trial", str(error)) from error
        try:
            with _watched(child, cancelled):
                outcome = _stages(child, job)
        except BaseException:
            _end(child)
            if cancelled():
                raise LoadCancelledError from None
            raise
        if cancelled():
            _end(child)
            raise LoadCancelledError
        self._give_back(child)
        return outcome

    def _take(self) -> Child:
        with self._lock:
            child, self._idle = self._idle, None
            self._stop_timer()
        if child is not None and child.alive:
            return child
        if child is not None:
            child.close()
        return self._spawn()

    def _give_back(self, child: Child) -> None:
        if child.alive and _is_empty(child):
            self._keep(child, self._idle_s)
        else:
            _end(child)

    def _keep(self, child: Child, seconds: float) -> None:
        with self._lock:
            keep = self._idle is None and not self._closed
            if keep:
                self._idle = child
                self._stop_timer()
                self._timer = threading.Timer(seconds, self._end_idle)
                self._timer.daemon = True
                self._timer.start()
        if not keep:
            child.close()

    def _end_idle(self) -> None:
        with self._lock:
            child, self._idle = self._idle, None
            self._stop_timer()
        if child is not None:
            child.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _spawned() -> Child:
    child = Child(_MODULE, name="trial", niceness=NICENESS)
    log.info("trial_process_started", pid=child.pid)
    return child


def _end(child: Child) -> None:
    child.kill()
    child.close()


def _is_empty(child: Child) -> bool:
    """Whether it gave up what it had loaded."""
    try:
        child.ask({"do": "drop"}, timeout=_DROP_S)
    except (ChildDiedError, ChildFailedError, TimeoutError, FramingError):
        return False
    return True


@contextlib.contextmanager
def _watched(child: Child, cancelled: Callable[[], bool]) -> Iterator[None]:
    """Kill the child as soon as nobody wants its version."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_S):
            if cancelled():
                child.kill()
                return

    watcher = threading.Thread(target=watch, name="trial-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _stages(child: Child, job: Job) -> Findings | Failure:
    """One question a stage, so that it shows in which the child died."""
    end = time.monotonic() + job.settings.loading.trial_timeout_s
    answer: Message = {}
    for stage, message in ((_LOAD, _load(job)), (_SAMPLES, {}), (_REHEARSE, {})):
        try:
            answer = child.ask({"do": stage, **message}, timeout=end - time.monotonic())
        except ChildDiedError as death:
            return _died(job, stage, death)
        except TimeoutError:
            limit = job.settings.loading.trial_timeout_s
            raise LoadError(f"its trial took longer than {limit:g} s") from None
        except (ChildFailedError, FramingError) as error:
            raise LoadError("its trial ended with an internal error", str(error)) from error
        if "refused" in answer:
            return _refused(job, answer)
    try:
        return findings.from_plain(answer.get("findings"))
    except ValueError as error:
        raise LoadError("its trial answered nonsense", str(error)) from error


def _load(job: Job) -> dict[str, Any]:
    return {
        "name": job.name,
        "path": str(job.path),
        "folder": str(job.folder),
        "config": plain.to_plain(job.config),
        "settings": job.settings.model_dump(mode="json"),
        "named": list(job.named),
        "size": job.size,
        "budget": job.budget,
    }


def _died(job: Job, stage: str, death: ChildDiedError) -> Findings | Failure:
    log.warning("trial_died", model=job.name, version=job.version, stage=stage, words=death.words)
    if stage == _REHEARSE:
        words = f"its trial ended with {death.words} on generated input"
        return Findings(
            Analysis("open", why=words), notes=(words,), memory_bytes=job.size, died=death.words
        )
    reason = f"its trial ended with {death.words} {_WHILE[stage]}"
    if death.words == "SIGKILL":
        # Nobody but the kernel does that, for want of memory; which may pass.
        raise LoadError(f"{reason}: most likely for want of memory") from MemoryError(death.words)
    return Failure(reason)


def _refused(job: Job, answer: Message) -> Failure:
    reason, detail = str(answer["refused"]), str(answer.get("detail", ""))
    kind = answer.get("kind")
    if kind == "io":
        raise LoadError(reason, detail) from OSError(detail)
    if kind == "memory":
        room = memory.words(job.budget)
        return Failure(f"it needs more memory than the {room} that it may take", detail)
    return Failure(reason, detail)
