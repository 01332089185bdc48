"""Who runs in a child: the model's word, then the operator's, then what was found out."""

from __future__ import annotations

import pytest

from serving.execution.isolation.isolation_policy import isolation_reason
from serving.model_config.schema import Isolation, ModelConfig
from serving.settings import load_settings


@pytest.mark.parametrize(
    ("said", "mode", "trial_died", "integer_div", "word"),
    [
        (None, "auto", False, False, ""),
        (None, "auto", True, False, "trial"),
        (None, "auto", False, True, "divides integers"),
        (None, "none", True, True, ""),
        (None, "process", False, False, "isolation.mode"),
        ("process", "none", False, False, "configuration"),
        ("process", "auto", False, False, "configuration"),
        ("none", "process", True, True, ""),
        ("none", "auto", True, True, ""),
    ],
)
def test_who_runs_in_a_child(
    said: Isolation | None, mode: str, trial_died: bool, integer_div: bool, word: str
) -> None:
    settings, _ = load_settings({"isolation.mode": mode}, environ={})

    reason = isolation_reason(
        ModelConfig(isolation=said), settings, trial_died=trial_died, integer_div=integer_div
    )

    assert bool(reason) == bool(word)
    assert word in reason
