"""What a schema asks of requests, whatever its file says: a load never fails for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from serving import _core
from serving.loading.enforced import Enforced, Terms
from serving.model_config.validation import ValidationConfig
from serving.registry.mlmodel import NOTHING_DECLARED
from serving.settings import Settings
from serving.signature import Signature, Tensor
from serving.statistics.forms import dump
from serving.statistics.metadata import Form, messages
from tests.unit.validation.test_lies import filled

BOTH = Signature((Tensor("x", "FP32", (-1, 2)), Tensor("t", "BYTES", (-1,))), ())


class Line:
    """What is asked of the core."""

    def __init__(self) -> None:
        self.asked: list[_core.Constraint] = []

    def check(self, constraints: Sequence[_core.Constraint]) -> None:
        self.asked = list(constraints)


def checked(folder: Path) -> tuple[list[_core.Constraint], tuple[str, ...]]:
    given = ValidationConfig(mode="reject")
    terms = Terms("m", 1, BOTH, NOTHING_DECLARED, given, Settings())
    made, line = Enforced(terms, folder / "1", folder), Line()
    made.begin(line)  # type: ignore[arg-type]  # it asks for no more than this has
    return line.asked, made.notes


def test_what_no_value_can_be_held_to_is_told_and_the_rest_is_asked(tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text(
        """feature { name: "x[0]" type: FLOAT float_domain { min: nan } }
        feature { name: "x[1]" type: FLOAT float_domain { max: 1 } }"""
    )
    found, (note,) = checked(tmp_path)
    assert len(found) == 1
    assert note == "not asked of requests: x[0]: a bound is not NaN"


@pytest.mark.parametrize(
    "said",
    ["value_count { min: -1 }", "shape { dim { size: 4611686018427387904 } dim { size: 9 } }"],
)
def test_a_row_of_a_size_that_none_has_is_told(tmp_path: Path, said: str) -> None:
    (tmp_path / "schema.pbtxt").write_text(f'feature {{ name: "t" type: BYTES {said} }}')
    found, (note,) = checked(tmp_path)
    assert found == []
    assert note == "not asked of requests: t: its shape or value_count is none that a row can have"


def test_any_schema_can_be_asked_or_told(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(200):
        schema = messages.Schema()
        for name in ("x[0]", "x[1]", "t", "x"):
            filled(schema.feature.add(), chance).name = name
        (tmp_path / "schema.pbtxt").write_bytes(dump(schema, Form.TEXT))
        checked(tmp_path)


def test_a_name_of_megabytes_makes_a_short_note(tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text(f'feature {{ name: "{"n" * 2_000_000}" type: FLOAT }}')
    _, (note,) = checked(tmp_path)
    assert len(note) < 400


def test_a_link_to_nothing_is_no_missing_schema(tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text('feature { name: "t" type: BYTES }')
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schema.pbtxt").symlink_to(tmp_path / "gone")
    found, (note,) = checked(tmp_path)
    assert found == []
    assert note == "requests are not checked: schema.pbtxt: it is a link to nothing"
