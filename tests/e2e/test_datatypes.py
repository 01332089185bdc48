"""Every datatype through every door and form, and the shapes that are easily forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from tests.clients import oip
from tests.clients.forms import FORMS, Question, RefusedError
from tests.clients.gateway import Gateway
from tests.clients.tfs import over_predict, over_predict_values
from tests.clients.triton import channel, refusal, stub

ALL = sorted(oip.SAMPLES)
# Every protocol's.
EVERY = {**FORMS, "predict": over_predict, "predict values": over_predict_values}


def asked(form: str, gateway: Gateway, model: str, inputs, datatypes=None) -> np.ndarray:
    """The output ``Y``."""
    return EVERY[form](gateway, Question(model, inputs, datatypes or {})).arrays["Y"]


# FP16 and BF16 have no typed and no JSON form; that these are refused has tests of its own.
PAIRS = [
    (datatype, form)
    for datatype in ALL
    for form in EVERY
    if datatype not in {"FP16", "BF16"} or form not in {"typed", "json"}
]


@pytest.mark.parametrize(("datatype", "form"), PAIRS)
def test_every_datatype_comes_back_unchanged(gateway: Gateway, datatype: str, form: str) -> None:
    sample = oip.SAMPLES[datatype]
    model = f"id_{datatype.lower()}"
    found = asked(form, gateway, model, {"X": sample}, {"X": datatype})
    assert found.dtype == sample.dtype
    np.testing.assert_array_equal(found, sample)


@pytest.mark.parametrize("form", EVERY)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "BYTES"])
def test_zero_size_tensors_keep_their_shape(
    gateway: Gateway, datatype: str, shape: tuple[int, int], form: str
) -> None:
    empty = np.empty(shape, oip.DTYPES[datatype])
    found = asked(form, gateway, f"id_{datatype.lower()}", {"X": empty}, {"X": datatype})
    assert found.shape == shape


@pytest.mark.parametrize("form", EVERY)
def test_rank_zero_stays_rank_zero(gateway: Gateway, form: str) -> None:
    found = asked(form, gateway, "scalar", {"X": np.array(2.5, np.float32)})
    assert found.shape == ()
    assert found == 2.5


@pytest.mark.parametrize("form", ["raw", "binary", "predict", "predict values"])
def test_rank_zero_stays_rank_zero_in_bf16(gateway: Gateway, form: str) -> None:
    one = np.array(0x3F80, np.uint16)
    found = asked(form, gateway, "scalar_bf16", {"X": one}, {"X": "BF16"})
    assert found.shape == ()
    assert found == one


@pytest.mark.parametrize("form", EVERY)
def test_rank_zero_models_accept_one_element(gateway: Gateway, form: str) -> None:
    found = asked(form, gateway, "scalar_int64", {"X": np.array([7])})
    assert found.reshape(()) == 7


@pytest.mark.parametrize("form", EVERY)
def test_a_model_without_inputs_answers(gateway: Gateway, form: str) -> None:
    found = asked(form, gateway, "constant", {})
    np.testing.assert_array_equal(found, np.array([1, 2], np.float32))


@pytest.mark.parametrize("form", EVERY)
def test_an_input_with_a_default_may_be_left_out(gateway: Gateway, form: str) -> None:
    x = np.array([[1, 2], [3, 4]], np.float32)
    left_out = asked(form, gateway, "optional_input", {"X": x})
    np.testing.assert_array_equal(left_out, x * 2)
    inputs = {"X": x, "factor": np.array([5], np.float32)}
    given = asked(form, gateway, "optional_input", inputs)
    np.testing.assert_array_equal(given, x * 5)


def test_different_sets_of_inputs_do_not_mix_under_load(gateway: Gateway) -> None:
    x = np.array([[1, 2]], np.float32)
    with channel(gateway) as one:
        futures = []
        for i in range(60):
            inputs = {"X": x * i} if i % 2 else {"X": x * i, "factor": np.array([i], np.float32)}
            futures.append(
                stub(one).ModelInfer.future(oip.grpc_request("optional_input", inputs), timeout=20)
            )
        for i, future in enumerate(futures):
            np.testing.assert_array_equal(
                oip.grpc_arrays(future.result())["Y"], x * i * (2 if i % 2 else i)
            )


@pytest.mark.parametrize("form", EVERY)
def test_a_fixed_shape_is_served_and_kept(gateway: Gateway, form: str) -> None:
    x = np.array([[1, 2, 3, 4]], np.float32)
    np.testing.assert_array_equal(asked(form, gateway, "fixed", {"X": x}), x * 2)


@pytest.mark.parametrize("form", EVERY)
def test_a_fixed_shape_refuses_others(gateway: Gateway, form: str) -> None:
    with pytest.raises(RefusedError) as refused:
        asked(form, gateway, "fixed", {"X": np.zeros((2, 4), np.float32)})
    assert refused.value.code == "INVALID_ARGUMENT"
    for part in ("'X'", "'fixed'", "[1,4]", "[2,4]"):
        assert part in refused.value.message.replace(", ", ","), refused.value


def test_typed_and_raw_forms_of_half_floats(gateway: Gateway) -> None:
    request = oip.grpc_request("id_fp16", {"X": np.ones((1, 1), np.float16)})
    del request.raw_input_contents[:]
    request.inputs[0].contents.fp32_contents.append(1.0)
    with channel(gateway) as one:
        error = refusal(stub(one).ModelInfer, request)
    assert error.code().name == "INVALID_ARGUMENT"
    assert "'X'" in error.details()


def test_a_large_tensor_comes_back_whole(gateway: Gateway) -> None:
    x = np.random.default_rng(1).random((1500, 2000), np.float32)
    for form in ("raw", "binary", "predict"):
        np.testing.assert_array_equal(asked(form, gateway, "id_fp32", {"X": x}), x)
