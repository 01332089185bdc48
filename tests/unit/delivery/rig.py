"""Rollouts over a manager on real directories: clocks and requests are in the test's hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving import _core
from serving.delivery.controller import Rollouts
from serving.delivery.measures import Key
from serving.delivery.requested import Start
from serving.models.commands.command import SetRoute
from serving.rollout.canary import Rollout
from serving.settings import Settings
from serving.state_dir import StateDir
from tests.unit.manager_world import World

BOUNDS = np.array([0.001, 0.1])
PLACE = {word: place for place, word in enumerate(_core.OUTCOMES)}


class Requests:
    """What versions answered, as the core counts it."""

    def __init__(self) -> None:
        self.outcomes: dict[Key, Counter[str]] = {}
        self.fell_back: dict[Key, Counter[str]] = {}
        self.stood_in: dict[Key, Counter[str]] = {}
        self.nonfinite: Counter[Key] = Counter()
        # One of each answer.
        self.classes: dict[Key, list[int]] = {}
        self.counting: tuple[list[Key], list[Key]] = ([], [])
        self.asked: list[Sequence[Key]] = []

    def count_outputs(self, nonfinite: list[Key], distributions: list[Key]) -> None:
        self.counting = (nonfinite, distributions)

    def _squares(self, keys: Sequence[Key]) -> np.ndarray:
        sums = [[sum(self.classes.get(key, ()))] * 2 for key in keys]
        return np.array(sums, np.uint64).reshape(len(keys), 2)

    def answer(self, version: int, good: int = 0, **errors: int) -> None:
        counts = self.outcomes.setdefault(("m", version), Counter())
        counts.update({"ok": good, **errors})

    def rescue(self, failing: int, by: int, word: str, **outcomes: int) -> None:
        """``failing`` fails as many, which ``by`` answers: counted as its own, too."""
        self.fell_back.setdefault(("m", failing), Counter())[word] += sum(outcomes.values())
        self.stood_in.setdefault(("m", by), Counter()).update(outcomes)
        self.outcomes.setdefault(("m", by), Counter()).update(outcomes)

    def figures(self, select: list[Key]) -> Any:
        self.asked.append(select)
        keys = [key for key in select if key in self.outcomes or key in self.fell_back]

        def rows(counts: dict[Key, Counter[str]]) -> np.ndarray:
            found = np.zeros((len(keys), len(PLACE)), np.uint64)
            for row, key in enumerate(keys):
                for word, count in counts.get(key, Counter()).items():
                    found[row, PLACE[word]] = count
            return found

        outcomes = rows(self.outcomes)
        total = np.repeat(outcomes.sum(axis=1)[:, None, None], 3, axis=2)
        return SimpleNamespace(
            versions=keys,
            outcomes=np.stack([outcomes, np.zeros_like(outcomes)], axis=1),
            fell_back=rows(self.fell_back),
            stood_in=rows(self.stood_in),
            stood_in_times=SimpleNamespace(
                counts=np.repeat(rows(self.stood_in).sum(axis=1)[:, None, None], 3, axis=2)
            ),
            counts={
                "inspected": total[:, 0, 0],
                "nonfinite": np.array([self.nonfinite[key] for key in keys], np.uint64),
            },
            squares=self._squares(keys),
            classes=np.array([self.classes.get(key, [0, 0]) for key in keys], np.uint64),
            scores=np.array([self.classes.get(key, [0, 0]) for key in keys], np.uint64),
            histograms={"total": SimpleNamespace(bounds=BOUNDS, counts=total)},
        )


class Rig:
    """Version 1 of ``m`` answers, version 2 is there; ``hold`` False: 2 has taken over."""

    def __init__(
        self, folder: Path, *, hold: bool = True, statistics: Any = None, **canary: Any
    ) -> None:
        self.folder, self.statistics = folder, statistics
        self.canary = {"window_s": 5.0, "every_s": 60.0, **canary}
        self.requests = Requests()
        self.begin_anew()
        self.world.write("m", 1)
        self.world.change()
        if hold:
            assert self.world.outcome(SetRoute("m", {1: 100})).ok
            self.publish(2)

    def begin_anew(self, *, keeps: bool = True) -> None:
        """Another process on the same directories; not ``keeps``: another has the state."""
        self.state = StateDir(self.folder / "state" if keeps else None)
        world = self.world = World(self.folder / "models", self.state, canary=self.canary)
        self.rollouts = Rollouts(
            Settings(canary=self.canary).canary,
            world.manager,
            self.state,
            self.requests.figures,
            self.requests.count_outputs,
            self.statistics,
            mono=lambda: world.now,
            wall=lambda: world.now + world.ahead,
        )

    def publish(self, version: int) -> None:
        self.world.write("m", version)
        self.world.change()

    def start(self, version: int = 2, **asked: Any) -> Rollout:
        given = self.rollouts.begin(Start("m", version, **asked))
        self.turn()
        return given.rollout

    def turn(self, seconds: float = 0.0) -> Rollout:
        """Time goes on, and all that follows from it comes to rest."""
        self.world.tick(seconds)
        for _ in range(3):
            self.rollouts.tick()
            self.world.settle()
        found = self.rollouts.of("m")
        assert found is not None
        return found

    def settled(self, model: str) -> Rollout | None:
        """What has come of it by itself."""
        for _ in range(3):
            self.rollouts.tick()
            self.world.settle()
        return self.rollouts.of(model)

    def windows(self, count: int, canary: int, base: int) -> Rollout:
        """So many windows in which all goes well."""
        for _ in range(count):
            self.requests.answer(2, canary)
            self.requests.answer(1, base)
            self.turn(5.0)
        return self.turn()

    @property
    def said(self) -> str:
        rollout = self.rollouts.of("m")
        assert rollout is not None
        return f"{rollout.phase.value} {rollout.share} %: {rollout.reason}"

    @property
    def weights(self) -> dict[int, int]:
        return dict(self.world.view().split.weights)
