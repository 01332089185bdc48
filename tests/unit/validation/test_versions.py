"""One version's data against another's, beside which it answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.statistics.dataset import DatasetSketch
from serving.statistics.metadata import messages
from serving.validation.versions import farthest, sure

CHANCE = 0.001


def sketched(inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> Any:
    """Of matrices (rows, columns): a feature for each column."""
    found = messages.DatasetFeatureStatisticsList()
    for name, matrices in (("inputs", inputs), ("outputs", outputs)):
        sketch = DatasetSketch(16, 1 << 20)
        for tensor, matrix in matrices.items():
            columns = {f"{tensor}[{n}]": column for n, column in enumerate(matrix.T)}
            sketch.add(columns, len(matrix))
        found.datasets.append(sketch.message(name))
    return found


def message(rows: int, *, shift: float = 0.0, seed: int = 0, rows_alike: int = 1) -> Any:
    """Inputs x[0], x[1]; outputs y[0], y[1], of which the last is moved by ``shift``."""
    dice = np.random.default_rng(seed)
    requests = rows // rows_alike
    x, y = (np.repeat(dice.normal(0, 1, (requests, 2)), rows_alike, axis=0) for _ in range(2))
    return sketched({"x": x}, {"y": y + np.array([0.0, shift])})


def test_the_feature_that_is_surely_farthest_is_told_of_inputs_and_outputs() -> None:
    found = farthest(message(2000, shift=2.0), message(3000, seed=1), 2000, 3000, CHANCE)
    assert found.keys() == {"inputs", "outputs"}
    assert found["outputs"].name == "y[1]"
    assert sure(found["outputs"]) > 0.2
    assert sure(found["inputs"]) == 0
    assert found["inputs"].name in ("x[0]", "x[1]")


def test_the_rows_of_one_request_count_as_one() -> None:
    """Twenty requests with a hundred rows each, all alike, are no two thousand."""
    few, many = message(2000, rows_alike=100), message(4000, seed=1)
    assert sure(farthest(few, many, 2000, 4000, CHANCE)["outputs"]) > 0
    assert sure(farthest(few, many, 20, 4000, CHANCE)["outputs"]) == 0


@pytest.mark.parametrize("requests", [100, 1000])
def test_of_versions_that_are_alike_none_is_surely_apart(requests: int) -> None:
    """Each with as many again, in thirty draws."""
    for seed in range(30):
        a, b = message(requests, seed=2 * seed), message(requests, seed=2 * seed + 1)
        found = farthest(a, b, requests, requests, CHANCE)
        assert [sure(one) for one in found.values()] == [0, 0], seed


def test_what_only_one_has_is_not_compared() -> None:
    one, other = sketched({"a": np.zeros((9, 1))}, {}), sketched({"b": np.zeros((9, 1))}, {})
    assert farthest(one, other, 9, 9, CHANCE) == {}
    assert farthest(one, one, 0, 0, CHANCE).keys() <= {"inputs"}
