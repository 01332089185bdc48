"""What windows are held against is within the memory that statistics may take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from serving.observe.statistics.columns import features_of
from serving.statistics.dataset import DatasetSketch
from serving.statistics.forms import dump
from serving.statistics.metadata import form_of, messages
from tests.unit.observe.statistics.test_collector import MATRIX, World, sample
from tests.unit.observe.statistics.world import signature, view

KIB, MIB = 1024, 1024 * 1024
RANDOM = np.random.default_rng(1)
# Far from what is trained on below.
ROWS = np.random.default_rng(2).normal(5, 1, (300, 2)).tolist()
# Four of what follows take more than a quarter of a mebibyte.
NUMBERS = range(1, 8)


def letters(packed: int) -> str:
    """A text that takes so many bytes packed."""
    return RANDOM.bytes(packed * 5 // 6).hex()


def publish(
    folder: Path, numbers: Sequence[int], name: str, *, packed: int = 0, others: int = 0
) -> int:
    """A baseline for each version, and its bytes. ``packed``: what it takes beyond a few hundred;
    ``others``: columns that no model takes."""
    sketch = DatasetSketch(4096, 64 * MIB)
    names = [*(f"x[{at}]" for at in range(2)), *(f"other{at}" for at in range(others))]
    sketch.add({one: RANDOM.normal(0, 1, 50) for one in names})
    trained = sketch.message("All Examples")
    trained.features[0].custom_stats.add(name=letters(packed))
    data = dump(messages.DatasetFeatureStatisticsList(datasets=[trained]), form_of(name))
    for number in numbers:
        (folder / str(number)).mkdir()
        (folder / str(number) / name).write_bytes(data)
    return len(data)


def one_window(world: World, *numbers: int) -> None:
    world.take(*(sample(ROWS, version=number) for number in numbers))
    world.after(60)


def nbytes(world: World) -> int:
    return world.made.figures().nbytes


def windows_alone(folder: Path, numbers: Sequence[int]) -> int:
    """Bytes of the windows where versions came with nothing."""
    world = World(folder / "alone", view(MATRIX, folder / "alone", *numbers))
    one_window(world, *numbers)
    return nbytes(world)


def with_skew(world: World) -> list[int]:
    """Versions whose distance from their baseline is known."""
    return [
        key[1]
        for key, kinds in world.made.pages(lambda *of: (of[0], of[1].farthest))
        if "skew" in kinds
    ]


def test_a_baseline_is_counted_and_of_it_only_what_the_version_has(tmp_path: Path) -> None:
    assert publish(tmp_path, [1], "baseline.pb", packed=50 * KIB, others=300) > 200 * KIB
    world = World(tmp_path, view(MATRIX, tmp_path, baseline="baseline.pb"))
    one_window(world, 1)
    assert with_skew(world) == [1]
    assert 50 * KIB < nbytes(world) - windows_alone(tmp_path, [1]) < 70 * KIB


@pytest.mark.parametrize("name", ["baseline.pb", "baseline.pbtxt"])
def test_baselines_beyond_a_quarter_of_the_memory_are_not_kept(tmp_path: Path, name: str) -> None:
    """They are read for each window instead; of text, which takes long, that is told once."""
    publish(tmp_path, NUMBERS, name, packed=70 * KIB)
    world = World(tmp_path, view(MATRIX, tmp_path, *NUMBERS, baseline=name), memory_bytes=MIB)
    with capture_logs() as told:
        for _ in range(2):
            one_window(world, *NUMBERS)
    kept = nbytes(world) - windows_alone(tmp_path, NUMBERS)
    assert 210 * KIB < kept < MIB // 4 + 32 * KIB
    left_out = [one for one in told if one["event"] == "statistics_reference_left_out"]
    if name == "baseline.pb":
        assert with_skew(world) == list(NUMBERS)
        assert not left_out
    else:
        assert with_skew(world) == [1, 2, 3]
        assert [one["version"] for one in left_out] == [4, 5, 6, 7]
        assert {(one["what"], one["limit"]) for one in left_out} == {("baseline", MIB // 4)}
        assert all(60 * KIB < one["bytes"] < 80 * KIB for one in left_out)


def test_a_schema_that_had_no_room_holds_once_there_is(tmp_path: Path) -> None:
    for number in NUMBERS:
        (tmp_path / str(number)).mkdir()
        missing = f'feature {{ name: "{letters(70 * KIB)}" presence {{ min_count: 1 }} }}'
        (tmp_path / str(number) / "schema.pbtxt").write_text(missing)
    world = World(tmp_path, view(MATRIX, tmp_path, *NUMBERS), memory_bytes=MIB)

    def held() -> list[int]:
        """Versions that lack what their schema asks for."""
        return [
            key[1]
            for key, n in world.made.pages(lambda *of: (of[0], len(of[1].alarms.standing)))
            if n
        ]

    one_window(world, *NUMBERS)
    assert held() == [1, 2, 3]
    # Those that nobody asks leave memory, with what they were held against.
    for _ in range(17):
        one_window(world, 7)
    assert held() == [7]
    assert nbytes(world) < 200 * KIB


def test_a_feature_is_found_by_its_tensor(tmp_path: Path) -> None:
    several = signature({f"x{at}[": ("FP32", (-1,)) for at in range(9)}, {"y": ("FP32", (-1, 3))})
    facts: Any = view(several).versions[0].facts
    features = features_of(facts, ())
    names = ("x7[", "x7[[3]", "y.class", "y.score", "y[0]")
    others = ("x7", "x7[3]", "x7[.class", "z", "y.mean")
    assert [name for name in (*names, *others) if features.has(name)] == list(names)
