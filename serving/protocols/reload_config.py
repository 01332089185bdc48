"""TensorFlow Serving's ``HandleReloadConfigRequest``: another model config list, as a whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from serving.errors import ConfigError, ErrorCode, ServingError
from serving.models.commands.command import Command, FollowList, Outcome, Ticket
from serving.models.views import ModelView
from serving.protocols.later import Later
from serving.protocols.views import ready_versions, shown
from serving.registry.model_list.base_paths import versions_below
from serving.registry.model_list.entries import Entry, ModelList, missing_labels
from serving.registry.model_list.reading import MAX_BYTES, read_message
from serving.wire import tfs_messages

MAX_BODY_BYTES = MAX_BYTES
# Calls that wait for their models.
MAX_PENDING = 16
# Models of one call that are commanded at once; the manager takes 1,024 in all.
_AT_ONCE = 128
_BY = "HandleReloadConfigRequest"
# As many models as an error names.
_MOST_NAMED = 8


class Commander(Protocol):
    """Who carries out commands; the manager is one."""

    def views(self) -> Sequence[ModelView]: ...
    def command(self, command: Command, by: str = "") -> Ticket: ...
    def hurry(self) -> None: ...


class Lists(Protocol):
    """Who keeps the list that is followed; see ``ModelListSource``."""

    @property
    def current(self) -> ModelList: ...
    def replace(self, models: ModelList, by: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Followed(Later):
    """Answered when each of the models is as the list says, or has failed."""

    following: Following
    release: Callable[[], None]

    def on_answer(self, answer: Callable[[Outcome | None], None]) -> None:
        self.following.begin(answer)

    def end(self) -> None:
        self.release()

    def failure(self, outcome: Outcome | None) -> ServingError | None:
        if outcome is None or outcome.ok:
            return None
        return ServingError(outcome.code or ErrorCode.INTERNAL, outcome.message)

    @property
    def body(self) -> bytes:
        response = tfs_messages.ReloadConfigResponse()
        # Set where it says OK, too.
        response.status.SetInParent()
        told: bytes = response.SerializeToString()
        return told


class ReloadConfig:
    """Takes lists as far as they may be taken. ``roots``: the directories that base paths have to
    lie below. The gate has been passed already."""

    def __init__(self, commander: Commander, lists: Lists, roots: Sequence[Path]) -> None:
        self._commander, self._lists = commander, lists
        self._roots = tuple(os.path.realpath(root) for root in roots)
        self._places = threading.Semaphore(MAX_PENDING)

    def reload(self, request: Any) -> Followed:
        """Follow the list of a ``ReloadConfigRequest`` in place of the one before. Raises
        ServingError; then nothing has changed."""
        models = _read(request)
        ready = {view.name: view for view in self._commander.views()}
        for entry in models.entries.values():
            self._check(entry, ready.get(entry.name))
        if not self._places.acquire(blocking=False):
            raise ServingError(ErrorCode.FULL, "too many reloads are waiting, try again later")
        try:
            before = self._lists.current
            self._lists.replace(models, _BY)
        except ConfigError as error:
            self._places.release()
            raise ServingError(ErrorCode.BAD_REQUEST, str(error)) from None
        # For what was taken out; what is awaited is looked for by its command.
        self._commander.hurry()
        awaited = [name for name, e in models.entries.items() if _is_news(e, before, ready)]
        return Followed(Following(self._commander, awaited), self._places.release)

    def _check(self, entry: Entry, view: ModelView | None) -> None:
        path = os.path.realpath(entry.base_path)
        if not any(os.path.commonpath((path, root)) == root for root in self._roots):
            raise ServingError(
                ErrorCode.PERMISSION_DENIED,
                f"model '{entry.name}': its base_path is below no directory that the server was"
                " started with",
            )
        try:
            on_disk = versions_below(path)
        except OSError:
            raise ServingError(
                ErrorCode.NOT_FOUND,
                f"Could not find base path {shown(entry.base_path)} for servable {entry.name}",
            ) from None
        _check_labels(entry, on_disk, view)


def _read(request: Any) -> ModelList:
    try:
        return read_message(request.config)
    except ConfigError as error:
        raise ServingError(ErrorCode.BAD_REQUEST, str(error)) from None


def _check_labels(entry: Entry, on_disk: Collection[int], view: ModelView | None) -> None:
    ready = [version.number for version in ready_versions(view)] if view is not None else ()
    for version in missing_labels(entry, on_disk, ready):
        raise ServingError(
            ErrorCode.FAILED_PRECONDITION,
            f"Request to assign label to version {version} of model {entry.name}, which is not"
            " currently available for inference",
        )


def _is_news(entry: Entry, before: ModelList, views: dict[str, ModelView]) -> bool:
    """Whether there is anything to wait for."""
    view = views.get(entry.name)
    return before.entries.get(entry.name) != entry or view is None or view.default is None


class Following:
    """The models of one call on their way, a few at a time. Safe from any thread."""

    def __init__(self, commander: Commander, models: Sequence[str]) -> None:
        self._commander = commander
        self._lock = threading.Lock()
        self._left = list(reversed(models))
        self._open = 0
        self._failed: list[Outcome] = []
        self._answer: Callable[[Outcome | None], None] | None = None

    def begin(self, answer: Callable[[Outcome | None], None]) -> None:
        self._answer = answer
        # One more than there are, so that none of them is the last before all are given.
        self._open = 1
        for _ in range(_AT_ONCE):
            self._next()
        self._ended(None)

    def _next(self) -> None:
        with self._lock:
            if not self._left:
                return
            model = self._left.pop()
            self._open += 1
        self._commander.command(FollowList(model), _BY).on_done(self._done)

    def _done(self, outcome: Outcome) -> None:
        self._next()
        self._ended(outcome)

    def _ended(self, outcome: Outcome | None) -> None:
        with self._lock:
            if outcome is not None and not outcome.ok:
                self._failed.append(outcome)
            self._open -= 1
            last = self._open == 0
        if last and self._answer is not None:
            self._answer(_together(self._failed))


def _together(failed: Sequence[Outcome]) -> Outcome | None:
    if not failed:
        return None
    first = failed[0]
    told = "; ".join(outcome.message for outcome in failed[:_MOST_NAMED])
    more = len(failed) - _MOST_NAMED
    return Outcome(first.code, told + (f"; and {more} more" if more > 0 else ""))
