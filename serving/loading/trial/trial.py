"""The trial: a new version is loaded, run and measured in a child process first.

So a file that crashes onnxruntime's parser, or that eats memory, ends a child and never the
server. A child is used again for the next version while it is well, for what it pays first takes as
long as a trial; it goes when nothing was tried for a while. A trial that is not wanted any more, or
not now, is told to stop: its run ends, and its child is there for the next. One that does not obey
ends with its child.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from serving.cancellation import Cancellation
from serving.errors import ConfigError, LoadError, Retry
from serving.events import log
from serving.execution.isolation import refusals
from serving.execution.isolation.framing import FramingError, Message
from serving.execution.isolation.parent import starting
from serving.execution.isolation.parent.process import Child, ChildDiedError, ChildFailedError
from serving.execution.session import is_for_cpu
from serving.loading import memory
from serving.loading.batching.analysis import Analysis
from serving.loading.trial import findings
from serving.loading.trial.findings import Failure, Findings
from serving.loading.trial.idle import IdleChildren
from serving.loading.trial.watching import watched
from serving.model_config import plain
from serving.model_config.schema import ModelConfig
from serving.registry.mlmodel import NOTHING_DECLARED, Declared
from serving.settings import Settings

Read = TypeVar("Read")

NICENESS = 10
IDLE_S = 5.0
# Started ahead of the first trial: the registry may need a while to be settled.
PREPARED_S = 20.0
# Kept at once where nobody says: one for quick trials, and one for slow ones beside them.
_MOST_IDLE = 2
# How long a trial waits for another's child before it has one of its own: most trials are done long
# before a new process, where it is not forked, has as much as its imports.
SOON_S = 0.25
_DROP_S = 10.0
MODULE = "serving.loading.trial.child"
# A model of more than this part of the memory that its trial had may have died for want of it.
_LARGE = 3

_READY, _LOAD, _SAMPLES, _REHEARSE = "ready", "load", "samples", "rehearse"
_WHILE = {
    _READY: "before it was loaded",
    _LOAD: "while it was loaded",
    _SAMPLES: "while it ran the user's sample",
}


class LoadCancelledError(LoadError):
    """The version is no longer wanted; nothing was kept."""

    def __init__(self) -> None:
        super().__init__("the load was cancelled: the version is no longer wanted")


@dataclass(frozen=True, slots=True)
class Job:
    """What to try. ``folder`` is the model's own, ``named`` the manifest's samples, ``size``
    the bytes of its files, ``budget`` the memory that it may take, ``declared`` what MLflow says of
    its inputs."""

    name: str
    version: int
    path: Path
    folder: Path
    config: ModelConfig
    settings: Settings
    named: tuple[str, ...]
    size: int
    budget: int
    declared: Declared = NOTHING_DECLARED


def is_wanted(config: ModelConfig, settings: Settings) -> bool:
    """Whether versions of this model are tried: `auto` means, on the CPU. On a GPU a trial
    would need room for the model twice."""
    if settings.loading.trial != "auto":
        return settings.loading.trial == "on"
    return is_for_cpu(config, settings)


class Trial:
    """Children that try versions, one at a time each; at most ``most_idle`` are kept between
    trials. ``soon_s``: for how long a trial waits for the child of another before it has one of
    its own. Safe from any thread."""

    def __init__(
        self,
        spawn: Callable[[], Child] | None = None,
        idle_s: float = IDLE_S,
        most_idle: int = _MOST_IDLE,
        soon_s: float = SOON_S,
    ) -> None:
        self._spawn = spawn or _spawned
        self._idle_s, self._soon_s = idle_s, soon_s
        # Told when a trial is over: its child is idle, or has ended.
        self._freed = threading.Condition()
        self._idle = IdleChildren(most_idle)
        # Children that are ready, by the settings that they were told.
        self._ready: WeakKeyDictionary[Child, Settings] = WeakKeyDictionary()
        self._busy = 0

    def prepare(self) -> None:
        """Have a child soon for the next trial, unless there is one; return before it is ready."""
        if not self._idle.any and not starting.prepare():
            with contextlib.suppress(OSError):  # the next trial will say so
                self._idle.keep(self._spawn(), PREPARED_S)

    def close(self) -> None:
        """End the children that are kept."""
        self._idle.close()

    def run(
        self,
        job: Job,
        cancelled: Cancellation,
        on_ready: Callable[[], None] = lambda: None,
    ) -> Findings | Failure:
        """What became of the version: findings, or a failure that another try would repeat.
        ``on_ready`` is called when the child has started, and begins with the version.

        Raises LoadError for what may go better another time or took too long;
        LoadCancelledError.
        """
        with self._turn():
            try:
                child = self._take()
            except OSError as error:
                words = "no process could be started for its trial"
                raise LoadError(words, str(error), Retry.LATER) from error
            return self._tried(child, job, cancelled, on_ready)

    def _tried(
        self, child: Child, job: Job, cancelled: Cancellation, on_ready: Callable[[], None]
    ) -> Findings | Failure:
        def begins() -> None:
            self._ready[child] = job.settings
            on_ready()

        try:
            with watched(child, cancelled):
                is_ready = self._ready.get(child) is job.settings
                ending = _stages(child, job, begins, is_ready=is_ready)
        except BaseException:
            _end(child)
            if cancelled():
                raise LoadCancelledError from None
            raise
        self._give_back(child, is_empty=ending.is_empty)
        if ending.outcome is None or cancelled():
            raise LoadCancelledError
        return ending.outcome

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """For one trial: from when a child is idle, or was waited for long enough."""
        with self._freed:
            self._freed.wait_for(lambda: self._idle.any or not self._busy, self._soon_s)
            self._busy += 1
        try:
            yield
        finally:
            with self._freed:
                self._busy -= 1
                self._freed.notify()

    def _take(self) -> Child:
        while (child := self._idle.take()) is not None:
            if child.alive:
                return child
            child.close()
        return self._spawn()

    def _give_back(self, child: Child, *, is_empty: bool = False) -> None:
        """``is_empty``: it has said that it gave up what it had loaded."""
        if child.alive and (is_empty or _is_empty(child)):
            self._idle.keep(child, self._idle_s)
        else:
            _end(child)


def _spawned() -> Child:
    child = Child(MODULE, name="trial", niceness=NICENESS)
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


@dataclass(frozen=True, slots=True)
class _Ending:
    """``outcome``: None where the trial was told to stop. ``is_empty``: the child has said that
    it gave up what it had loaded."""

    outcome: Findings | Failure | None
    is_empty: bool = False


def _stages(child: Child, job: Job, on_ready: Callable[[], None], *, is_ready: bool) -> _Ending:
    """One question a stage, so that it shows in which the child died. ``is_ready``: it has tried
    another version by the same settings."""
    end = time.monotonic() + job.settings.loading.trial_timeout_s
    answer: Message = {}
    stages: dict[str, Message] = {_LOAD: _load(job), _SAMPLES: {}, _REHEARSE: {}}
    if not is_ready:
        stages = {_READY: {"settings": _settings(job)}, **stages}
    for stage, message in stages.items():
        if stage == _LOAD:
            on_ready()
        if stage == _SAMPLES and answer.get("samples") is False:
            continue
        try:
            answer = child.ask({"do": stage, **message}, timeout=end - time.monotonic())
        except ChildDiedError as death:
            return _Ending(_died(job, stage, death))
        except TimeoutError:
            limit = job.settings.loading.trial_timeout_s
            raise LoadError(f"its trial took longer than {limit:g} s") from None
        except (ChildFailedError, FramingError) as error:
            raise LoadError("its trial ended with an internal error", str(error)) from error
        if "stopped" in answer:
            return _Ending(None)
        if "refused" in answer:
            return _Ending(_refused(job, stage, _read(refusals.from_plain, answer["refused"])))
    found = _read(findings.from_plain, answer.get("findings"))
    return _Ending(found, answer.get("dropped") is True)


def _read(from_plain: Callable[[Any], Read], said: object) -> Read:
    try:
        return from_plain(said)
    except ValueError as error:
        raise LoadError("its trial answered nonsense", str(error)) from error


def _load(job: Job) -> dict[str, Any]:
    return {
        "name": job.name,
        "path": str(job.path),
        "folder": str(job.folder),
        "config": plain.to_plain(job.config),
        "named": list(job.named),
        "size": job.size,
        "budget": job.budget,
    }


def _settings(job: Job) -> dict[str, Any]:
    return job.settings.model_dump(mode="json")


def _died(job: Job, stage: str, death: ChildDiedError) -> Findings | Failure:
    log.warning("trial_died", model=job.name, version=job.version, stage=stage, words=death.words)
    if stage == _REHEARSE:
        words = f"its trial ended with {death.words} on generated input"
        return Findings(
            Analysis("open", why=words),
            notes=(words,),
            memory_bytes=job.size,
            died=death.words,
            # Some operators die of memory that they don't get.
            short=job.size * _LARGE > job.budget,
        )
    reason = f"its trial ended with {death.words} {_WHILE[stage]}"
    if stage == _READY:
        # It had not been told of the version yet.
        raise LoadError(reason, retry=Retry.LATER)
    if death.words == "SIGKILL":
        # Nobody but the kernel does that, for want of memory; which may pass.
        raise LoadError(f"{reason}: most likely for want of memory", retry=Retry.LATER)
    return Failure(reason)


def _refused(job: Job, stage: str, error: LoadError | ConfigError) -> Failure:
    if isinstance(error, ConfigError):
        raise error
    if error.for_memory:
        room = memory.words(job.budget)
        words = f"it needs more memory than the {room} that it may take"
        reason = error.reason if stage == _SAMPLES else words
        return Failure(reason, error.detail, for_memory=True)
    if error.retry is Retry.LATER:
        raise error
    return Failure(error.reason, error.detail, retry=error.retry)
