"""What both versions of a rollout had since its step began, as the judge asks for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serving.observe.statistics.rollout_steps import RolloutSteps
from serving.observe.statistics.window import Bounds
from tests.unit.observe.statistics.test_collector import MATRIX, World, sample
from tests.unit.observe.statistics.world import Sample, view

PAIR = ("m", 2, 1)
ROWS = np.random.default_rng(1).normal(0, 1, (300, 2)).tolist()


def requests(version: int, count: int, shift: float = 0.0) -> list[Sample]:
    return [sample([row], version, shift) for row in ROWS[:count]]


def test_requests_of_a_step_are_counted_from_its_beginning_over_all_windows(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path, 1, 2, 3))
    # Ten that wait when the step begins are none of its.
    world.take(*requests(1, 10), *requests(2, 10))
    world.made.follow({PAIR: (7.0, 0)})
    assert world.made.counted(PAIR) == (0, 0)
    world.take(*requests(1, 100), *requests(2, 20), *requests(3, 5))
    world.after(60)
    world.take(*requests(1, 100), *requests(2, 30))
    assert world.made.counted(PAIR) == (50, 200)
    world.made.follow({PAIR: (7.0, 0)})
    assert world.made.counted(PAIR) == (50, 200)
    before = world.made.figures().nbytes
    world.made.follow({PAIR: (7.0, 1)})
    assert world.made.counted(PAIR) == (0, 0)
    world.made.follow({})
    assert world.made.counted(PAIR) is None
    assert world.made.farthest(PAIR, 0.001) == {}
    assert world.made.figures().nbytes < before


def test_the_farthest_features_are_told(tmp_path: Path) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path, 1, 2))
    world.made.follow({PAIR: (7.0, 0)})
    # Another class of the largest score, and nothing else.
    moved = [Sample("m", 2, one.inputs, sample([[0, 0]], 2).outputs) for one in requests(2, 200)]
    world.take(*requests(1, 200), *moved)
    far = world.made.farthest(PAIR, 0.001)
    assert {kind: one.sure for kind, one in far.items()} == {"inputs": 0, "outputs": 0}
    for one in moved:
        name, datatype, shape, _ = one.outputs[0]
        other = np.array([[0.5, 0.2, 0.3]], np.float32).tobytes()
        world.take(Sample("m", 2, one.inputs, [(name, datatype, shape, other)]))
    assert world.made.counted(PAIR) == (400, 200)
    far = world.made.farthest(PAIR, 0.001)
    assert far["inputs"].sure == 0
    assert (far["outputs"].feature, far["outputs"].measure) == ("y.class", "L-infinity distance")
    assert 0.3 < far["outputs"].sure < far["outputs"].distance == 0.5


def test_so_many_rollouts_are_compared_at_a_time_and_others_wait_their_turn() -> None:
    steps = RolloutSteps(Bounds(8, 1 << 16), 2)
    pairs = [(name, 2, 1) for name in "abc"]
    steps.follow(dict.fromkeys(pairs, (0.0, 0)))
    assert [steps.counted(pair) for pair in pairs] == [(0, 0), (0, 0), None]
    steps.follow(dict.fromkeys(pairs[1:], (0.0, 0)))
    assert [steps.counted(pair) for pair in pairs] == [None, (0, 0), (0, 0)]
    # Others than those that were asked for: no longer the rollout's.
    assert steps.counted(("b", 3, 1)) is None
