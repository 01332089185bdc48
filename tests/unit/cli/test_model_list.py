"""``serving models``, the list: of few models, of a thousand, and of those that are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from typer.testing import CliRunner

from serving.cli import app, listing
from serving.cli.output import UserError
from serving.control.admin import Admin
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from tests.unit.control_fakes import Commander, Line, admin_port
from tests.unit.protocol_views import failed, model, version


def ready(number: int) -> VersionView:
    return version(number, queue=Line())


FEW = (
    model("fraud-eu", ready(1), ready(2)),
    model("fraud-us", ready(1), failed(2, "it is broken")),
    model("spam", version(1, state=State.LOADING, queue=Line())),
)


def many(count: int) -> tuple[ModelView, ...]:
    odd = {7: failed(1, "it is broken"), 8: version(1, state=State.LOADING, queue=Line())}
    return tuple(model(f"m{at:04d}", odd.get(at, ready(1))) for at in range(count))


class Fleet(Commander):
    """Counts what it is asked."""

    def __init__(self, views: Sequence[ModelView]) -> None:
        super().__init__()
        self._views, self.asked = tuple(views), 0

    def views(self) -> tuple[ModelView, ...]:
        self.asked += 1
        return self._views


@pytest.fixture(scope="module")
def few() -> Iterator[Admin]:
    with admin_port(Fleet(FEW)) as admin:
        yield admin


def run(admin: Admin, *arguments: str) -> Any:
    url = f"http://127.0.0.1:{admin.address[1]}"
    return CliRunner().invoke(app, ["models", *arguments], env={"SERVING_ADMIN_URL": url})


def listed(admin: Admin, *arguments: str) -> list[str]:
    """The names."""
    done = run(admin, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return [one["name"] for one in json.loads(done.stdout)]


def test_names_patterns_and_states_choose(few: Admin) -> None:
    assert listed(few) == ["fraud-eu", "fraud-us", "spam"]
    assert listed(few, "fraud-*") == ["fraud-eu", "fraud-us"]
    assert listed(few, "spam", "fraud-?s") == ["fraud-us", "spam"]
    assert listed(few, "--state", "failed") == ["fraud-us"]
    assert listed(few, "list", "--state", "loading", "--state", "failed") == ["fraud-us", "spam"]
    assert listed(few, "fraud-*", "--state", "ready", "--limit", "1") == ["fraud-eu"]
    assert listed(few, "nothing-*") == []


def test_a_name_that_is_none_is_told_and_a_command_that_is_mistyped_named(few: Admin) -> None:
    for arguments, words in {
        ("fraud-eu", "nobody"): ["there is no model 'nobody'"],
        ("stats", "spam"): ["there is no model 'stats', nor a command; did you mean 'status'?"],
        ("spam", "--state", "failed"): ["no model 'spam' is failed"],
        ("--json", "status", "spam"): ["options come after 'status'"],
    }.items():
        done = run(few, *arguments)
        assert isinstance(done.exception, UserError), arguments
        assert done.exception.lines == words
    # What was found is listed all the same.
    assert "fraud-eu" in run(few, "fraud-eu", "nobody").stdout


@pytest.mark.parametrize("mistyped", [("--state", "odd"), ("--limit", "0"), ("--limit", "x")])
def test_what_is_typed_wrongly_is_refused(few: Admin, mistyped: tuple[str, ...]) -> None:
    assert run(few, *mistyped).exit_code == 2


def terminal(monkeypatch: pytest.MonkeyPatch, admin: Admin, *arguments: str) -> list[str]:
    """The lines that a terminal would be given."""
    said: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(listing, "print_line", lambda text, style="": said.append(text))
        patched.setattr(listing, "_is_terminal", lambda: True)
        assert run(admin, *arguments).exit_code == 0
    return said


def test_of_a_thousand_a_terminal_has_a_summary_below_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = Fleet(many(1000))
    with admin_port(fleet) as admin:
        said = terminal(monkeypatch, admin)
        assert sum(line.startswith("m0") for line in said) == 1000
        words = "1,000 models: 998 ready, 1 loading, 1 failed"
        assert said[-1] == f"{words}; 'serving models --state failed' lists these"
        # A page at a time.
        assert fleet.asked == 2
        some = terminal(monkeypatch, admin, "--state", "failed")
        assert [line.split()[:3] for line in some[1:2]] == [["m0007", "1", "FAILED"]]
        assert some[-1] == "1 of 1,000 models"
        some = terminal(monkeypatch, admin, "m00*", "--limit", "3")
        assert some[-1] == "the first 3 of 1,000 models; --limit asks for more"
        piped = run(admin).stdout.splitlines()
        assert len(piped) == 1001, "a line each, and the names of the columns"
        assert len(listed(admin)) == 1000


def test_few_have_no_summary_that_one_sees_anyway(
    few: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any("models" in line for line in terminal(monkeypatch, few))


def test_a_gateway_that_knows_no_pages_is_listed_too(
    few: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving.cli.control import AdminPort

    old = [{"name": "m"}, {"name": "n"}]
    monkeypatch.setattr(AdminPort, "get", lambda self, path: {"models": old})
    assert listed(few) == ["m", "n"]
    assert listing.summary(old * 20, listing.Extent(40)) == "40 models"
