"""Whatever somebody wrote is read as what it should be, or refused in words."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from serving.errors import LoadError
from serving.execution.isolation.channel import _Answer
from serving.execution.isolation.parent.runner import Facts, _facts
from serving.signature import LeftOut, Signature, Tensor
from serving.strict import Count, Few, Many, Strict, StrictError, Text, few


class Part(Strict):
    size: Count


class Whole(Strict):
    text: Text
    kind: Literal["a", "b"] = "a"
    whole: Annotated[int, Field(ge=1, le=5)] = 1
    number: float = 0.0
    flag: bool = False
    texts: Few[Text] = ()
    many: Many[Count] = ()
    table: Annotated[dict[Text, Part], few(2)] = Field(default_factory=dict)


def read(**given: Any) -> Whole:
    return Whole.read({"text": "", **given}, "the whole")


def test_what_is_right_is_read() -> None:
    found = read(kind="b", whole=5, number=2, texts=["x"], many=[1, 2], table={"k": {"size": 3}})
    assert (found.kind, found.whole, found.number, found.texts) == ("b", 5, 2.0, ("x",))
    assert (found.many, found.table["k"].size) == ((1, 2), 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"text": 5}, "'text' of the whole is no text"),
        ({"text": "x" * 5000}, "'text' of the whole is too long: more than 4096 characters"),
        ({"text": "\ud800"}, "'text' of the whole holds half a character"),
        ({"kind": "c"}, "'kind' of the whole is not 'a' or 'b'"),
        ({"whole": True}, "'whole' of the whole is no integer"),
        ({"whole": 1.0}, "'whole' of the whole is no integer"),
        ({"whole": 0}, "'whole' of the whole is less than 1"),
        ({"whole": 6}, "'whole' of the whole is more than 5"),
        ({"number": "1"}, "'number' of the whole is no number, or too large"),
        ({"number": float("nan")}, "'number' of the whole is no finite number"),
        ({"flag": 0}, "'flag' of the whole is neither true nor false"),
        ({"texts": "x"}, "'texts' of the whole is no list"),
        ({"texts": ["x", 1]}, "'texts.1' of the whole is no text"),
        ({"texts": ["x"] * 5000}, "'texts' of the whole has more than 4096 entries"),
        ({"many": [2**63]}, "'many.0' of the whole is 9223372036854775808 or more"),
        ({"table": []}, "'table' of the whole is not an object"),
        ({"table": {"a": 1, "b": 1, "c": 1}}, "'table' of the whole has more than 2 entries"),
        ({"table": {"a": 1}}, "'table.a' of the whole is not an object"),
        ({"table": {"a": {}}}, "'table.a' of the whole has no 'size'"),
        ({"table": {"a\n": {"size": -1}}}, r"'table.a\n.size' of the whole is less than 0"),
        ({"more": 1}, "the whole has the unknown key 'more'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(given: dict[str, Any], words: str) -> None:
    with pytest.raises(StrictError) as refused:
        read(**given)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [([], "is not an object"), (None, "is not an object"), ({}, "has no 'text'")],
)
def test_what_is_no_such_table_says_so(value: Any, words: str) -> None:
    with pytest.raises(StrictError, match=f"^the whole {words}$"):
        Whole.read(value, "the whole")


LOADED: dict[str, Any] = {
    "signature": {
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": [-1, 4],
                "optional": False,
                "dim_names": ["n", ""],
                "described": None,
            }
        ],
        "outputs": [],
        "left_out": [{"name": "z", "type": "seq(int64)"}],
    },
    "nodes": {"CPUExecutionProvider": 2},
    "provider": "CPUExecutionProvider",
    "threads": 1,
    "notes": [],
}


def test_what_a_child_has_loaded_comes_out_of_it() -> None:
    tensor = Tensor("x", "FP32", (-1, 4), dim_names=("n", ""))
    signature = Signature((tensor,), (), (LeftOut("z", "seq(int64)"),))
    provider = "CPUExecutionProvider"
    assert _facts(LOADED) == Facts(signature, {provider: 2}, provider, 1, ())


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(LOADED)), ANYTHING)
def test_a_child_that_says_something_else_fails_its_version_alone(key: str, value: Any) -> None:
    with suppress(LoadError):
        assert isinstance(_facts({**LOADED, key: value}), Facts)


@given(st.dictionaries(st.sampled_from(sorted(_Answer.model_fields)), ANYTHING))
def test_a_childs_answer_is_read_right_or_refused(answer: dict[str, Any]) -> None:
    try:
        found = _Answer.read(answer, "its answer")
    except StrictError:
        return
    assert all(len(entry) == 4 and entry[3] >= 0 for entry in found.head)
