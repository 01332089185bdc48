"""A manager on real directories, with loads, threads and clocks in the test's hand."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.loading.facts import VersionFacts
from serving.models.commands.command import Command, Outcome, Ticket
from serving.models.manager import Manager
from serving.models.views import Changes, ModelView, VersionView
from serving.settings import Settings
from serving.signature import LeftOut, Signature, Tensor
from serving.state_dir import StateDir

SIGNATURE = Signature(
    (Tensor("x", "FP32", (-1, 4)),), (Tensor("y", "FP32", (-1, 3)),), (LeftOut("z", "seq(map)"),)
)


def in_force(table: Mapping[str, ModelView], changed: Changes) -> dict[str, ModelView]:
    """The table by name, with what changed."""
    now = {**table, **changed}
    return {name: view for name, view in sorted(now.items()) if view is not None}


class SteppedManager(Manager):
    """Its sources look within its turns, in the caller's thread."""

    def tick(self) -> float:
        turn_due = self.look()
        due = super().tick()
        if any(thread._request is not None for thread in self._sources.threads):
            turn_due = self.look()
            due = super().tick()
        return min(due, turn_due)

    def look(self) -> float:
        return min(thread.turn() for thread in self._sources.threads)


class Stats:
    """Of a version that nobody asks."""

    asked = False


@dataclass
class Loaded:
    """What a loader returns: nothing runs, but it knows when it was closed."""

    name: str
    version: int
    config: Any
    world: World
    signature: Signature = SIGNATURE
    process: Any = None
    at_rest: bool = True
    closed: bool = False
    looked_beside: list[Path] = field(default_factory=list)

    @property
    def facts(self) -> VersionFacts:
        return VersionFacts(
            config=self.config,
            signature=self.signature,
            batching="batched",
            max_rows=64,
            provider="CPUExecutionProvider",
            provider_nodes={"CPUExecutionProvider": 3},
            threads=2,
            instances=self.config.instances,
            load_seconds=0.25,
            notes=("preferred provider cuda is missing",),
            memory_bytes=1000,
            checked=True,
        )

    @property
    def queue(self) -> Any:
        return self

    def look_beside(self, folder: Path) -> bool:
        self.looked_beside.append(folder)
        return False

    def shut(self) -> bool:
        assert all(self is not routed for routed in self.world.routed())
        return self.at_rest

    def close(self, timeout: float) -> bool:
        # Promise 2: whoever is closed must not be in the table any more.
        assert all(self is not routed for routed in self.world.routed())
        assert timeout > 0
        assert not self.closed
        self.closed = True
        return self.world.ends_in_time


class World:
    """A registry on disk and a manager whose threads run when the test says so."""

    def __init__(
        self,
        root: Path,
        state: StateDir | None = None,
        *,
        listed: Callable[[Any, Any], Any] | None = None,
        **settings: Any,
    ) -> None:
        """``listed``: makes a source in place of ``root``, of two clocks."""
        self.root, self.state = root, state
        settings.setdefault("rollout", {"keep_previous_s": 0.0})
        self.now = 1000.0
        self.ahead = time.time() + 60 - self.now
        self.table: dict[str, ModelView] = {}
        # The table's views, each time that it was published.
        self.published: list[tuple[ModelView, ...]] = []
        self.jobs: list[tuple[str, Callable[[], None]]] = []
        self.loads: list[str] = []
        self.made: list[Loaded] = []
        self.stats: list[tuple[str, int]] = []
        self.errors: dict[str, BaseException] = {}
        # By model and version, or as the configuration has it (``configured``).
        self.signatures: dict[str, Signature] = {}
        self.configured: Callable[[Any], Signature | None] = lambda config: None
        self.during: Callable[[dict[str, Any]], object] = lambda call: None
        self.cpu = 0.0
        self.publish_error: Exception | None = None
        self.ends_in_time = True
        # That can still be started.
        self.threads = math.inf
        self.no_thread: Exception = RuntimeError("can't start new thread")
        mono, wall = lambda: self.now, lambda: self.now + self.ahead
        self.manager = SteppedManager(
            # How many at once matters to few: those say so.
            Settings(**{"threads": {"load": 1}, **settings}),
            [] if listed else [root],
            self.publish,
            self.load,
            new_stats=self.new_stats,
            mono=mono,
            wall=wall,
            cpu=lambda: self.cpu,
            spawn=self.spawn,
            state=self.state,
            listed=listed(mono, wall) if listed else None,
        )

    def spawn(self, name: str, job: Callable[[], None]) -> None:
        if self.threads < 1:
            raise self.no_thread
        self.threads -= 1
        self.jobs.append((name, job))

    def write(self, model: str, version: int | str, content: str = "weights") -> Path:
        folder = self.root / model / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_text(content)
        return folder

    def configure(self, model: str, text: str) -> None:
        (self.root / model).mkdir(exist_ok=True)
        (self.root / model / "model.yaml").write_text(text)

    def publish(self, changed: Changes) -> None:
        if self.publish_error is not None:
            raise self.publish_error
        self.table = in_force(self.table, changed)
        self.published.append(tuple(self.table.values()))

    def routed(self) -> list[Any]:
        views = self.published[-1] if self.published else ()
        return [queue for view in views for queue in view.route.queues.values()]

    def new_stats(self, model: str, version: int) -> Any:
        self.stats.append((model, version))
        return Stats()

    def load(self, **call: Any) -> Any:
        word = f"{call['name']}/{call['version']}"
        self.loads.append(word)
        self.during(call)
        if word in self.errors:
            raise self.errors[word]
        call["on_warming"]()
        signature = self.configured(call["config"]) or self.signatures.get(word, SIGNATURE)
        made = Loaded(call["name"], call["version"], call["config"], self, signature)
        self.made.append(made)
        return made

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.manager.tick()

    def run_jobs(self) -> list[str]:
        jobs, self.jobs = self.jobs, []
        for _, job in jobs:
            job()
        return [name for name, _ in jobs]

    def settle(self, seconds: float = 0.0) -> None:
        """Ticks and jobs until nothing is left to do."""
        self.tick(seconds)
        while self.jobs:
            self.run_jobs()
            self.tick()

    def change(self) -> None:
        """Past the settle time, looking as often as the loop would."""
        for _ in range(6):
            self.settle(1.01)

    def view(self, model: str = "m") -> ModelView:
        return next(view for view in self.manager.views() if view.name == model)

    def order(self, command: Command) -> Ticket:
        """Give a command and let it come to its end, past the settle time where it waits."""
        ticket = self.manager.command(command)
        self.settle()
        for _ in range(6):
            if ticket.wait(0) is None:
                self.settle(1.01)
        return ticket

    def outcome(self, command: Command) -> Outcome:
        outcome = self.order(command).wait(0)
        assert outcome is not None, f"{command} has not ended: {self.view(command.model)}"
        return outcome

    def outcome_at_once(self, command: Command) -> Outcome:
        """Without the clock going on."""
        ticket = self.manager.command(command)
        self.settle()
        outcome = ticket.wait(0)
        assert outcome is not None, f"{command} waits: {self.view(command.model)}"
        return outcome

    def remove(self, model: str, version: int | None = None) -> None:
        path = self.root / model
        shutil.rmtree(path if version is None else path / str(version))

    def answers(self, model: str = "m") -> int | None:
        """The version that the published table gives to requests that name none."""
        views = self.published[-1] if self.published else ()
        return next((view.default for view in views if view.name == model), None)

    def version(self, number: int, model: str = "m") -> VersionView:
        return next(v for v in self.view(model).versions if v.number == number)

    def states(self, model: str = "m") -> dict[int, str]:
        return {v.number: str(v.state) for v in self.view(model).versions}
