"""What a request may ask for besides its tensors, in every form in which it may come."""

from __future__ import annotations

import numpy as np
import pytest

from tests.clients.forms import FORMS, Question, RefusedError
from tests.clients.gateway import Gateway
from tests.small_models import tiny_expected

X = np.array([[1, 2, 3, 4], [0, 0, 0, 0]], np.float32)
ONES = np.ones((1, 4), np.int32)
PAIR = {"INPUT0": ONES * 5, "INPUT1": ONES}

pytestmark = pytest.mark.parametrize("form", FORMS)


@pytest.mark.parametrize("said", ["call 7", ""])
def test_an_answer_names_model_and_version_and_the_id_that_came(
    gateway: Gateway, form: str, said: str
) -> None:
    answer = FORMS[form](gateway, Question("tiny", {"x": X}, id=said))
    assert (answer.model, answer.version, answer.id) == ("tiny", "1", said)
    np.testing.assert_allclose(answer.arrays["y"], tiny_expected(X), rtol=1e-5)


def test_a_request_id_comes_back_when_sent(gateway: Gateway, form: str) -> None:
    answer = FORMS[form](gateway, Question("tiny", {"x": X}, request_id="mine-1"))
    assert answer.request_id == "mine-1"


@pytest.mark.parametrize(
    "names", [["OUTPUT1"], ["OUTPUT1", "OUTPUT0"], ["OUTPUT0", "OUTPUT1"], []], ids=len
)
def test_only_the_requested_outputs_come_in_the_order_asked(
    gateway: Gateway, form: str, names: list[str]
) -> None:
    answer = FORMS[form](gateway, Question("add_sub", PAIR, outputs=names))
    assert list(answer.arrays) == (names or ["OUTPUT0", "OUTPUT1"])
    for name, array in answer.arrays.items():
        np.testing.assert_array_equal(array, ONES * (6 if name == "OUTPUT0" else 4))


@pytest.mark.parametrize(("version", "factor"), [("1", 1), ("2", 2), ("7", 7), ("", 7)])
def test_the_version_asked_for_answers_else_the_highest(
    gateway: Gateway, form: str, version: str, factor: int
) -> None:
    x = np.array([[1, 2]], np.float32)
    answer = FORMS[form](gateway, Question("versions", {"X": x}, version=version))
    assert answer.version == str(factor)
    np.testing.assert_array_equal(answer.arrays["Y"], x * factor)


def test_parameters_of_every_kind_are_accepted(gateway: Gateway, form: str) -> None:
    parameters = {"a": True, "b": 7, "c": "x", "d": 0.5, "priority": 1}
    answer = FORMS[form](gateway, Question("tiny", {"x": X}, parameters=parameters))
    assert list(answer.arrays) == ["y"]


@pytest.mark.parametrize("value", [True, "soon", 0.5])
def test_a_timeout_of_the_wrong_type_is_a_bad_request(
    gateway: Gateway, form: str, value: object
) -> None:
    with pytest.raises(RefusedError, match="timeout") as refused:
        FORMS[form](gateway, Question("tiny", {"x": X}, parameters={"timeout": value}))
    assert refused.value.code == "INVALID_ARGUMENT"
