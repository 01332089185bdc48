"""What slots need of the world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from serving.cancellation import Cancellation
from serving.model_config import ModelConfig
from serving.models.actual.drawing import Loaded
from serving.models.state import Slot
from serving.settings import Settings

if TYPE_CHECKING:
    from serving import _core


class Load(Protocol):
    """The loader: raises LoadError; may return early or late once ``cancelled()``.

    ``path``: the version's folder; ``folder``: the model's, with its configuration.
    ``fingerprint``: of both its files and its configuration. ``on_trying``: a trial, which
    ends when ``cancelled``, does its own work from now on. ``on_changed``: what it says of
    itself is another, long after it was loaded.
    """

    def __call__(
        self,
        *,
        name: str,
        version: int,
        path: Path,
        folder: Path,
        fingerprint: str,
        config: ModelConfig,
        settings: Settings,
        stats: _core.Stats | None,
        cancelled: Cancellation,
        on_trying: Callable[[], None],
        on_warming: Callable[[], None],
        on_changed: Callable[[], None],
    ) -> Loaded: ...


@dataclass(frozen=True, slots=True)
class Outside:
    """``post`` runs something in the loop; ``changed`` hears there of
    which model a thread reported something; ``mono`` and ``wall``: seconds, monotonic and since
    the epoch; ``mention`` is ``post`` for what may wait a moment for more, and ``shown`` is
    ``changed`` where nothing is to be decided anew; ``spawn``: (name, work) in a thread;
    ``objection``: why a slot that was loaded may not serve, for its signature; "" where it may."""

    settings: Settings
    load: Load
    new_stats: Callable[[str, int], _core.Stats]
    mono: Callable[[], float]
    wall: Callable[[], float]
    spawn: Callable[[str, Callable[[], None]], None]
    post: Callable[[Callable[[], None]], None]
    mention: Callable[[Callable[[], None]], None]
    changed: Callable[[str], None]
    shown: Callable[[str], None]
    objection: Callable[[Slot], str]
