"""A model's schema, read at a load and again when it was edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from serving.loading.enforced import Enforced, Terms
from serving.model_config.validation import NO_VALIDATION, ValidationConfig
from serving.registry.mlmodel import NOTHING_DECLARED
from serving.settings import Settings
from serving.signature import Signature, Tensor

SIGNATURE = Signature((Tensor("x", "FP32", (-1,)),), (Tensor("y", "FP32", (-1,)),))
REJECT = ValidationConfig("reject")
SCHEMA = 'feature { name: "x" type: FLOAT float_domain { max: %d } }'


class Line:
    """What is asked of the core, each time."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.refuses = False

    def check(self, constraints: list[Any]) -> None:
        if self.refuses:
            raise ValueError("it does not fit")
        self.asked.append(len(constraints))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    version = tmp_path / "1"
    version.mkdir()
    return version, tmp_path


def begun(folders: tuple[Path, Path], given: ValidationConfig = REJECT) -> tuple[Enforced, Line]:
    terms = Terms("m", 1, SIGNATURE, NOTHING_DECLARED, given, Settings())
    made, line = Enforced(terms, *folders), Line()
    made.begin(line)  # type: ignore[arg-type]  # it asks for no more than this has
    return made, line


def test_a_schema_that_comes_later_is_asked_and_one_that_says_the_same_is_not_asked_again(
    folders: tuple[Path, Path],
) -> None:
    made, line = begun(folders)
    schema = folders[1] / "schema.pbtxt"
    assert made.notes == ("requests are not checked: there is no schema.pbtxt",)
    assert not made.look(folders[1])
    schema.write_text(SCHEMA % 5)
    assert made.look(folders[1])
    assert (made.notes, line.asked) == ((), [1])
    schema.write_text(SCHEMA % 5 + "  # the same")
    with capture_logs() as told:
        assert not made.look(folders[1])
    assert (line.asked, told) == ([1], [])


def test_fault_113_a_broken_schema_leaves_the_one_before_and_is_told_once(
    folders: tuple[Path, Path],
) -> None:
    schema = folders[1] / "schema.pbtxt"
    schema.write_text(SCHEMA % 5)
    made, line = begun(folders)
    schema.write_text("feature {")
    with capture_logs() as told:
        assert made.look(folders[1])
        assert not made.look(folders[1])
    assert [one["event"] for one in told] == ["request_schema_unusable"]
    assert told[0]["effect"] == "what it said before holds"
    assert made.notes[0].startswith("what it said before holds: schema.pbtxt: ")
    schema.write_text(SCHEMA % 5)
    assert made.look(folders[1])
    assert (made.notes, line.asked) == ((), [1])
    line.refuses = True
    schema.write_text(SCHEMA % 66)
    assert made.look(folders[1])
    assert made.notes == ("what it said before holds: schema.pbtxt: it does not fit",)


def test_one_that_was_broken_from_the_start_is_taken_up_once_it_is_good(
    folders: tuple[Path, Path],
) -> None:
    schema = folders[1] / "schema.pbtxt"
    schema.write_text("feature {")
    made, line = begun(folders)
    assert made.notes[0].startswith("requests are not checked: schema.pbtxt: ")
    schema.write_text("feature { name: }")
    assert made.look(folders[1])
    assert made.notes[0].startswith("requests are not checked: schema.pbtxt: ")
    schema.write_text(SCHEMA % 5)
    assert made.look(folders[1])
    assert (made.notes, line.asked) == ((), [1])


def test_a_versions_own_schema_is_of_its_files_and_what_is_off_is_not_read(
    folders: tuple[Path, Path],
) -> None:
    version, model = folders
    (version / "schema.pbtxt").write_text(SCHEMA % 5)
    made, line = begun(folders)
    (model / "schema.pbtxt").write_text(SCHEMA % 7 + SCHEMA.replace('"x"', '"z"') % 7)
    assert not made.look(model)
    assert (made.notes, line.asked) == ((), [1])
    (version / "schema.pbtxt").unlink()
    off, line = begun(folders, NO_VALIDATION)
    (model / "schema.pbtxt").write_text("feature {")
    assert not off.look(model)
    assert (off.notes, line.asked) == ((), [])
