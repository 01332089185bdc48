"""What the core may be built of: the rules find what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.package import dependencies

RULES: dict[str, Any] = {
    "licenses": {"allow": ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]},
    "bans": {"skip": []},
}


def crate(name: str = "some", version: str = "1.0.0", **facts: str | None) -> dict[str, Any]:
    return {"name": name, "version": version, "license": "MIT"} | {
        "source": dependencies.CRATES_IO,
        **facts,
    }


@pytest.mark.parametrize(
    ("expression", "permitted"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("GPL-3.0-only/MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0", True),
        ("MIT OR Apache-2.0 AND GPL-3.0-only", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("MIT WITH LLVM-exception", False),
    ],
)
def test_a_licence_is_permitted_where_one_may_choose_so(expression: str, permitted: bool) -> None:
    assert dependencies.permits(expression, RULES["licenses"]["allow"]) is permitted


@pytest.mark.parametrize("expression", ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "AND MIT"])
def test_what_is_no_licence_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"licence|parenthesis"):
        dependencies.permits(expression, ["MIT"])


@pytest.mark.parametrize(
    ("crates", "said"),
    [
        ([crate(license="GPL-2.0-only")], "its licence is GPL-2.0-only"),
        ([crate(license=None)], "its licence is not named"),
        ([crate(source="git+https://example.org/some")], "not from crates.io"),
        ([crate(), crate(version="2.0.0")], "2 versions"),
    ],
)
def test_what_is_not_allowed_is_named(crates: list[dict[str, Any]], said: str) -> None:
    (fault,) = dependencies.faults(crates, RULES)
    assert fault.startswith("some")
    assert said in fault


def test_a_skip_lets_one_version_pass_for_as_long_as_it_is_there() -> None:
    rules = RULES | {"bans": {"skip": [{"crate": "some@1", "reason": "for this test"}]}}
    assert list(dependencies.faults([crate(), crate(version="2.0.0")], rules)) == []
    (fault,) = dependencies.faults([crate(version="2.0.0")], rules)
    assert "no longer needed" in fault
