"""The models' manager put together with what loads and what judges, for who runs the gateway."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.gates.judge import Judge
from serving.gates.replay import Replay
from serving.gates.verdicts import Verdicts
from serving.loading.loader import Loader
from serving.model_config.gates import GatesConfig
from serving.model_config.gates_form import read_gates_file
from serving.models.manager import Manager
from serving.models.verdicts import Bench
from serving.models.views import Changes
from serving.registry.source import Source
from serving.registry.watch import Watcher
from serving.settings import Settings
from serving.state_dir import StateDir
from serving.state_opening import OpenedState


@dataclass(frozen=True, slots=True)
class Managed:
    """The manager, and what it works with. ``gates``: what they ask by model, where a file says
    so; ``replay``: requests for new versions to run."""

    manager: Manager
    loader: Loader
    gates: Mapping[str, GatesConfig]
    replay: Replay
    verdicts: Verdicts

    def hurry(self, touched: Collection[str] | None) -> None:
        """Something has changed on disk: a load is about to come."""
        self.loader.expect()
        self.manager.hurry(touched)

    def take_state(self, state: StateDir, then: Callable[[StateDir], None]) -> None:
        """Go on as another gateway left it, and ``then`` with what comes after its routes."""
        self.verdicts.take_over(state)
        self.manager.take_state(state, then=then)


def open_models(
    settings: Settings,
    roots: Sequence[Path],
    publish: Callable[[Changes], None],
    state: OpenedState,
    listed: Source | None,
    elsewhere: Sequence[Source],
) -> Managed:
    """``listed`` and ``elsewhere``: sources beside the directories ``roots``. Raises ConfigError
    for a file of gates that is not one."""
    loader = Loader(settings, state.shared)
    file = settings.gates.file
    gates = read_gates_file(file) if file is not None else {}
    replay = Replay(settings.gates.replay_requests, settings.gates.replay_bytes)
    verdicts = Verdicts(state.own)
    manager = Manager(
        settings,
        roots,
        publish,
        loader,
        state=state.own,
        listed=listed,
        bench=Bench(settings, Judge(settings), verdicts, replay, loader.lend),
        gates=gates,
        elsewhere=elsewhere,
    )
    return Managed(manager, loader, gates, replay, verdicts)


def open_watcher(settings: Settings, roots: Sequence[Path], managed: Managed) -> Watcher | None:
    """None where no directory is watched."""
    registry = settings.registry
    if not (registry.watch and roots):
        return None
    reports, follow = managed.manager.reports, registry.follow_symlinks
    return Watcher(roots, managed.hurry, reports, follow_symlinks=follow)
