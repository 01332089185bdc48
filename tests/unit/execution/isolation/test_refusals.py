"""What a child says of a version that it refused comes out of it whole, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from serving.errors import ConfigError, LoadError, Retry
from serving.execution.isolation import refusals


@pytest.mark.parametrize("retry", list(Retry))
@pytest.mark.parametrize("for_memory", [True, False])
def test_a_refusal_says_on_both_sides_whether_to_try_again(retry: Retry, for_memory: bool) -> None:
    error = LoadError("no", "why", retry, for_memory=for_memory)
    found = refusals.from_plain(refusals.to_plain(error))
    assert isinstance(found, LoadError)
    said = (found.reason, found.detail, found.retry, found.for_memory)
    assert said == ("no", "why", retry, for_memory)


def test_the_name_of_a_file_that_is_no_text_keeps_no_refusal_from_its_way() -> None:
    error = LoadError("no", "/models/\udcff: " + "x" * 5000)
    found = refusals.from_plain(refusals.to_plain(error))
    assert isinstance(found, LoadError)
    assert found.detail.startswith("/models/\\udcff: xxx")


def test_a_wrong_configuration_stays_one() -> None:
    found = refusals.from_plain(refusals.to_plain(ConfigError("no such key")))
    assert isinstance(found, ConfigError)
    assert str(found) == "no such key"


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {"reason": 1},
        {"reason": "no", "detail": "", "more": 1},
        {"reason": "no", "for_memory": "yes"},
        {"reason": "no", "detail": "", "retry": "soon", "for_memory": False},
    ],
)
def test_what_is_no_refusal_is_not_taken_for_one(said: Any) -> None:
    with pytest.raises(ValueError, match="its refusal"):
        refusals.from_plain(said)


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (OSError(5, "I/O error"), Retry.LATER),
        (MemoryError(), Retry.LATER),
        (FileNotFoundError(2, "No such file"), Retry.ON_CHANGE),
        (RuntimeError(), Retry.NEVER),
    ],
)
def test_what_the_system_refused_may_pass_and_what_is_missing_comes_as_a_change(
    error: BaseException, retry: Retry
) -> None:
    assert LoadError.after(error, "no").retry is retry
