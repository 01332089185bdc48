"""Words of anomalies and distances call classes by the model's file of labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.model_config import ModelConfig
from serving.model_config.schema import LabelFile, TensorConfig
from serving.models.views import ModelView
from serving.observe.statistics.checks import Beside, Shown, check
from serving.observe.statistics.known import Known
from serving.observe.statistics.labels import labels_of_words
from serving.observe.statistics.reference import Reference
from serving.observe.statistics.rollup import Span
from serving.statistics.dataset import DatasetSketch
from tests.unit.observe.statistics.world import signature, view
from tests.unit.validation.builders import listed, schema

pytest.importorskip("datasketches")

NAMES = ["cat", "dog", "fox", None, "e\nmu"]
FEATURE = 'feature {{ name: "y.class" type: INT {} }}'
THRESHOLD = "infinity_norm { threshold: 0.1 }"
FAR = f"drift_comparator {{ {THRESHOLD} }}"


class Labelled:
    """What is asked of ``_core.Queue``."""

    def labels(self, output: str, elements: list[int]) -> list[str | None]:
        assert output == "y"
        return [NAMES[one] if one < len(NAMES) else None for one in elements]


def model(*, labelled: bool = True) -> ModelView:
    outputs = (TensorConfig("y", labels=LabelFile("labels.txt") if labelled else None),)
    config = ModelConfig(outputs=outputs)
    of = signature({"x": ("FP32", (-1, 2))}, {"y": ("FP32", (-1, 5))})
    seen = view(of, Path("/nowhere"), 1, config=config)
    (version,) = seen.versions
    queue: Any = Labelled()
    return replace(seen, versions=(replace(version, queue=queue),))


def classes(*numbers: int) -> Any:
    sketch = DatasetSketch()
    sketch.add({"y.class": np.array(numbers, np.int64)})
    return listed(sketch.message("outputs", categorical={"y.class"}))


def shown(message: Any, rules: str, beside: Beside, seen: ModelView, baseline: Any = None) -> Shown:
    known = Known(())
    known.watch({seen.name: seen})
    labels = labels_of_words(known, ("m", 1), message, baseline, beside.previous, beside.base)
    reference = Reference(schema(FEATURE.format(rules)), baseline)
    return check(message, Span.MINUTE, 60.0, reference, beside, labels)


def words(*given: Any, **more: Any) -> list[str]:
    return [one.description for one in shown(*given, **more).anomalies]


def test_a_class_out_of_range_is_called_by_its_name() -> None:
    rules = "int_domain { min: 1 max: 3 }"
    found = words(classes(0, 1, 4), rules, Beside(), model())
    assert found == [
        "It has '0 cat': expected 1 at least.",
        "It has '4 e\\nmu': expected 3 at most.",
    ]
    without = words(classes(0, 1, 4), rules, Beside(), model(labelled=False))
    assert without == ["It has 0: expected 1 at least.", "It has 4: expected 3 at most."]


@pytest.mark.parametrize("against", ["previous", "base"])
def test_the_class_that_differs_most_is_called_by_its_name_wherever_it_was(against: str) -> None:
    here, there = classes(*[0] * 400, *[1] * 600), classes(*[0] * 400, *[2] * 600)
    found = words(here, FAR, Beside(**{against: there}), model())
    assert len(found) == 1
    assert found[0].endswith(" It differs most in '2 fox'.")
    unnamed = words(here, FAR, Beside(**{against: there}), model(labelled=False))
    assert unnamed[0].endswith(" It differs most in '2'.")


def test_a_class_without_a_name_is_its_number() -> None:
    here, there = classes(*[3] * 600, *[0] * 400), classes(*[0] * 1000)
    (found,) = words(here, FAR, Beside(previous=there), model())
    assert found.endswith(" It differs most in '3'.")


def test_only_classes_have_names() -> None:
    known = Known(())
    seen = model()
    known.watch({seen.name: seen})
    sketch = DatasetSketch()
    sketch.add({"x[0]": np.array(["0", "1"])})
    assert labels_of_words(known, ("m", 1), sketch.message("inputs"), None) == {}
    assert labels_of_words(known, ("m", 2), classes(0)) == {}
    assert labels_of_words(known, ("m", 1), classes(0)) == {"y.class": {"0": "cat"}}
