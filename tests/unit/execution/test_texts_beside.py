"""Which runs of a version of texts are for its child: the model and the child are stand-ins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from serving.execution.isolation.many_texts import ManyTexts
from serving.execution.session import Array
from serving.execution.texts_beside import TextsBeside
from serving.signature import Signature, Tensor

MANY = 10
CHILD: Any = SimpleNamespace(take=lambda: CHILD, is_awaited=False)


def beside(*inputs: Tensor) -> TextsBeside:
    """A model that gives ``MANY`` texts for each value that it gets."""

    def run(names: Any, feeds: dict[str, Array], requests: int = 0) -> list[Array]:
        return [np.full(MANY * sum(array.size for array in feeds.values()), "y", object)]

    signature = Signature(inputs, (Tensor("y", "BYTES", (-1,)),))
    runner = SimpleNamespace(
        signature=signature, providers={}, provider="", threads=1, notes=(), run=run
    )
    return TextsBeside(cast(Any, runner), ManyTexts(MANY), CHILD)


def is_for_child(version: TextsBeside, *weight: int) -> bool:
    return version.packing(cast(Any, SimpleNamespace(weight=weight))) is not None


@pytest.mark.parametrize(
    ("tensor", "array", "text_bytes", "all_bytes"),
    [
        (Tensor("x", "FP32", (-1,)), np.zeros(2, np.float32), 0, 8),
        # Each behind its length in four bytes.
        (Tensor("x", "BYTES", (-1,)), np.array(["é" * 50, "a" * 100], object), 208, 208),
    ],
    ids=["numbers", "texts"],
)
def test_one_that_gave_many_texts_speaks_for_all_that_bring_as_many_bytes(
    tensor: Tensor, array: Array, text_bytes: int, all_bytes: int
) -> None:
    version = beside(tensor)
    assert not is_for_child(version, 2, text_bytes, all_bytes)
    version.run(["y"], {"x": array})
    assert is_for_child(version, 2, text_bytes, all_bytes)
    assert not is_for_child(version, 2, text_bytes, all_bytes - 1)


def test_one_that_brought_many_texts_speaks_for_no_other() -> None:
    version = beside(Tensor("x", "BYTES", (-1,)))
    version.run(["y"], {"x": np.full(MANY, "a", object)})
    assert is_for_child(version, MANY, 50, 50)
    assert not is_for_child(version, MANY - 1, 100, 100)


@pytest.mark.parametrize(("left", "where"), [(0.0, "the child"), (0.5, ""), (None, "")])
def test_one_that_waited_for_the_child_until_its_deadline_is_not_run_here(
    monkeypatch: pytest.MonkeyPatch, left: float | None, where: str
) -> None:
    version, waited = beside(Tensor("x", "BYTES", (-1,))), []
    child = SimpleNamespace(is_awaited=True, wait_ready=waited.append, take=lambda: "")
    monkeypatch.setattr(version, "_child", child)
    batch = SimpleNamespace(weight=(MANY, 50, 50), deadline=left, step_aside=lambda: None)
    found = version.packing(cast(Any, batch))
    assert (found is child) == (where == "the child")
    assert waited == [left]
