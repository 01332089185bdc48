"""TensorFlow Serving's ``HandleReloadConfigRequest``: another model config list, as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from serving.errors import ConfigError, ErrorCode, ServingError
from serving.model_config.schema import VersionPolicy
from serving.models.commands.command import Outcome
from serving.models.views import ModelView
from serving.protocols import following, metric_increases
from serving.protocols.following import Following, Waiting
from serving.protocols.later import Later
from serving.protocols.views import ready_versions, shown
from serving.registry.model_list.base_paths import versions_below
from serving.registry.model_list.entries import Entry, ModelList, missing_labels
from serving.registry.model_list.reading import MAX_BYTES, read_message
from serving.wire import tfs_messages

MAX_BODY_BYTES = MAX_BYTES
# As many versions as an error names.
_MOST_NAMED = 8


class Commander(following.Commander, Protocol):
    """The manager is one."""

    def views(self) -> Sequence[ModelView]: ...
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
    increases: Callable[[], Mapping[str, int]] = dict

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
        for name, increase in self.increases().items():
            response.metric.add(name=name, int64_value_increase=increase)
        told: bytes = response.SerializeToString()
        return told


class ReloadConfig:
    """Takes lists as far as they may be taken. ``roots``: the directories that base paths have to
    lie below. ``scrape``: all that is measured, in Prometheus' text form. The gate has been passed
    already."""

    def __init__(
        self,
        commander: Commander,
        lists: Lists,
        roots: Sequence[Path],
        scrape: Callable[[], bytes] = bytes,
    ) -> None:
        self._commander, self._lists, self._scrape = commander, lists, scrape
        self._roots = tuple(os.path.realpath(root) for root in roots)
        self._waiting = Waiting()

    def reload(self, request: Any, is_awaited: Callable[[], bool] = lambda: True) -> Followed:
        """Follow the list of a ``ReloadConfigRequest`` in place of the one before. ``is_awaited``:
        whether its client still waits. Raises ServingError; then nothing has changed."""
        models = _read(request)
        increases = metric_increases.of(request.metric_names, self._scrape)
        ready = {view.name: view for view in self._commander.views()}
        before = self._lists.current
        awaited = {one.name: one for one in models.entries.values() if _is_news(one, before, ready)}
        for entry in models.entries.values():
            if entry.name in awaited or entry.listed.labels:
                self._check(entry, ready.get(entry.name))
            # Of thousands that answer as they were listed nothing else can be wrong now.
            elif not os.path.isdir(entry.base_path):  # noqa: PTH112 - Path's raises, as by EACCES
                raise _no_base_path(entry)
        try:
            self._lists.replace(models, following.BY)
        except ConfigError as error:
            raise ServingError(ErrorCode.BAD_REQUEST, str(error)) from None
        # For what was taken out; what is awaited is looked for by its command.
        self._commander.hurry()
        call = Following(self._commander, list(awaited))
        self._waiting.enter(call, is_awaited)
        return Followed(call, partial(self._waiting.leave, call), increases)

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
            raise _no_base_path(entry) from None
        ready = [version.number for version in ready_versions(view)] if view is not None else []
        _check_versions(entry, on_disk, ready)
        _check_labels(entry, on_disk, ready)


def _read(request: Any) -> ModelList:
    try:
        return read_message(request.config)
    except ConfigError as error:
        raise ServingError(ErrorCode.BAD_REQUEST, str(error)) from None


def _no_base_path(entry: Entry) -> ServingError:
    return ServingError(
        ErrorCode.NOT_FOUND,
        f"Could not find base path {shown(entry.base_path)} for servable {entry.name}",
    )


def _check_versions(entry: Entry, on_disk: Collection[int], ready: Collection[int]) -> None:
    """What a model's own configuration says of its versions is not known yet; only the list."""
    if ready or _selects_any(entry.listed.policy, on_disk):
        return
    there = ", ".join(map(str, sorted(on_disk)[-_MOST_NAMED:]))
    raise ServingError(
        ErrorCode.BAD_REQUEST,
        f"at least one version must be available under the version policy of model '{entry.name}';"
        f" in its base_path: {f'the newest are {there}' if there else 'none'}",
    )


def _selects_any(policy: VersionPolicy | None, on_disk: Collection[int]) -> bool:
    if policy is not None and policy.kind == "specific":
        return not set(policy.specific).isdisjoint(on_disk)
    return bool(on_disk)


def _check_labels(entry: Entry, on_disk: Collection[int], ready: Collection[int]) -> None:
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
