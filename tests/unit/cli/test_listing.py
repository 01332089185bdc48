"""``serving models``: what a narrow terminal shows, and the columns of a pipe."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from serving.cli.listing import narrow, print_models, rows
from serving.control.views import models_json
from serving.models.reasons import Absence
from serving.models.views import Route, UnloadedVersion
from tests.unit.control_fakes import Line
from tests.unit.protocol_views import failed, model, version

WHY = "the version policy is latest 1"
LONG = "the model file is corrupt or truncated: it is not an ONNX protobuf, and that takes words"


def listed() -> list[dict[str, Any]]:
    pinned = replace(
        model("digits", version(2, queue=Line(), max_rows=64), version(3, queue=Line())),
        route=Route(2, aliases={"champion": 2, "stable": 2, "next": 4, "former": 1}),
        pinned=2,
        unloaded=(UnloadedVersion(1, WHY),),
    )
    return models_json([pinned, model("broken", failed(1, LONG))])


def lines(width: int, *, everything: bool = False) -> list[str]:
    found = [row for one in listed() for row in rows(one, everything=everything)]
    return [text for text, _ in narrow(found, width)]


def test_eighty_columns_are_enough_and_reasons_are_whole() -> None:
    shown = lines(80)
    assert max(map(len, shown)) <= 80
    assert shown[1].split() == ["digits", "2", "*", "READY", "CPU", "1", "64"]
    assert shown[2] == "    aliases champion, stable"
    assert shown[3].split() == ["3", "READY", "CPU", "1", "one", "by", "one"]
    assert "    pinned to version 2" in shown
    assert " ".join(LONG.split()) in " ".join(" ".join(shown).split())
    assert shown[-1].startswith("* answers ")


def test_what_is_only_on_disk_is_listed_when_asked_for() -> None:
    assert "on disk" not in "\n".join(lines(80))
    shown = lines(80, everything=True)
    assert ["1", "on", "disk"] in [line.split() for line in shown]
    assert f"    alias former; {WHY}" in shown


def test_every_cell_of_a_pipes_line_is_filled_and_no_reason_is_said_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = replace(
        model("held", version(1, queue=Line()), version(2, queue=Line(), reason="held back")),
        reason="version 2 held back; it is pinned",
        own_reason="it is pinned",
        pinned=1,
        unloaded=(UnloadedVersion(3, WHY), UnloadedVersion(4, WHY)),
    )
    broken = replace(model("broken", failed(1, LONG)), reason=f"version 1 failed: {LONG}")
    print_models(models_json([broken, held]), everything=True)
    printed = capsys.readouterr().out.splitlines()
    cells = [re.split(r"  +", line) for line in printed]
    assert [len(row) for row in cells] == [7] * len(cells), printed
    assert cells[1] == ["broken", "1", "FAILED", "-", "-", "-", LONG]
    assert [row[-1] for row in cells[2:]] == ["-", "held back", WHY, "as above", "it is pinned"]


def out(why: Absence, *each: Absence | None, more: str = "") -> dict[str, Any]:
    """A model of which nothing is loaded, and what keeps out each version on disk."""
    unloaded = tuple(UnloadedVersion(n, "in other words", one) for n, one in enumerate(each, 1))
    reason = f"{why}{more}"
    view = model("m", reason=reason)
    return models_json([replace(view, own_reason=reason, absence=why, unloaded=unloaded)])[0]


@pytest.mark.parametrize("why", [Absence.NOBODY_ASKED, Absence.BY_COMMAND])
def test_what_keeps_out_every_version_is_not_said_of_the_model_again(why: Absence) -> None:
    listed = out(why, why, why)
    assert [row.version for row in rows(listed, everything=True)] == ["1", "2"]
    assert [row.reason for row in rows(listed, everything=False)] == [why]


@pytest.mark.parametrize(
    "listed",
    [
        out(Absence.NOBODY_ASKED, Absence.NOBODY_ASKED, None),
        out(Absence.BY_COMMAND, Absence.BY_COMMAND, more="; version 1 is pinned and not ready"),
        out(Absence.BY_POLICY, Absence.BY_POLICY),
    ],
)
def test_what_no_version_says_is_said_of_the_model(listed: dict[str, Any]) -> None:
    assert [row.version for row in rows(listed, everything=True)][-1] is None


def test_a_pipe_gets_columns_and_a_models_own_words_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_models(listed(), everything=True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[-1] == "REASON"
    assert any(line.startswith("digits") and line.endswith(WHY) for line in printed)
    assert any(line.startswith("digits") and "pinned to version 2" in line for line in printed)
    assert any(line.startswith("broken") and line.endswith(LONG) for line in printed)
