"""``reshape`` in config.pbtxt: clients' shapes and the model's hold the same elements."""

from __future__ import annotations

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.loading.inputs.sample_files import UnfitError, fit
from serving.model_config import ModelConfig, fit_signature
from serving.model_config.pbtxt import read_pbtxt
from serving.model_config.reshape import agree, described_shape, reshaped
from serving.model_config.triton_form import message_to_json_dict, triton_config
from serving.signature import Signature, Tensor

CONFIG = """
max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: 4 reshape { shape: [ 2, 2 ] } },
        { name: "len" data_type: TYPE_INT32 dims: 1 reshape { } } ]
output { name: "y" data_type: TYPE_FP32 dims: [ 1, 2 ] reshape { shape: 2 } }
model_warmup {
  name: "w" batch_size: 3
  inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 zero_data: true } }
  inputs { key: "len" value { data_type: TYPE_INT32 dims: 1 zero_data: true } }
}
"""
GRAPH = Signature(
    inputs=(Tensor("x", "FP32", (-1, 2, 2)), Tensor("len", "INT32", (-1,))),
    outputs=(Tensor("y", "FP32", (-1, 2)),),
)


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        ([1], []),
        ([4], [2, 2]),
        ([-1], [1, -1]),
        ([2, -1, 3], [1, 2, -1, 3, 1]),
        ([-1, -1], [-1, -1]),
    ],
)
def test_shapes_of_the_same_elements_agree(dims: list[int], shape: list[int]) -> None:
    assert agree(dims, shape)
    assert agree(shape, dims)


@pytest.mark.parametrize(
    ("dims", "shape"),
    [([2], []), ([4], [2, 3]), ([-1], [2, 2]), ([2, -1], [-1, 2]), ([-1], [-1, -1])],
)
def test_shapes_that_may_hold_other_elements_do_not(dims: list[int], shape: list[int]) -> None:
    assert not agree(dims, shape)


def test_a_size_goes_from_a_place_that_varies_to_its_counterpart() -> None:
    assert reshaped((5, 2, 3, 7), (-1, 2, 3, -1), (2, -1, 3, -1)) == (2, 5, 3, 7)
    assert reshaped((5, 1), (-1, 1), (-1,)) == (5,)
    assert reshaped((5, 2), (-1, 1), (-1,)) is None
    assert reshaped((5,), (-1, 1), (-1,)) is None


def test_a_reshape_says_both_shapes_and_the_signature_keeps_them() -> None:
    fitted = fit_signature("m", read_pbtxt(CONFIG, "m"), GRAPH)

    shapes = [(t.shape, t.client_shape) for t in (*fitted.inputs, *fitted.outputs)]
    assert shapes == [((-1, 2, 2), (-1, 4)), ((-1,), (-1, 1)), ((-1, 2), (-1, 1, 2))]


def test_a_reshape_that_says_nothing_new_is_none() -> None:
    text = 'max_batch_size: 2 input { name: "x" data_type: TYPE_FP32 dims: 4 reshape { shape: 4 } }'
    assert read_pbtxt(text, "m").inputs[0].described is None


def test_warm_up_is_written_as_clients_see_it() -> None:
    (sample,) = read_pbtxt(CONFIG, "m").warmup

    assert {one.name: one.shape for one in sample.inputs} == {"x": (3, 2, 2), "len": (3,)}


def test_a_sample_may_come_in_either_shape() -> None:
    fitted = fit_signature("m", read_pbtxt(CONFIG, "m"), GRAPH)
    for x, lengths in ((np.zeros((2, 4)), [[1], [2]]), (np.zeros((2, 2, 2)), [1, 2])):
        feeds = fit({"x": x, "len": lengths}, fitted, 1 << 20)
        assert (feeds["x"].shape, feeds["len"].shape) == ((2, 2, 2), (2,))
    with pytest.raises(UnfitError, match=r"shape \[2, 3\]"):
        fit({"x": np.zeros((2, 3)), "len": [1, 2]}, fitted, 1 << 20)


@pytest.mark.parametrize("max_rows", [4, 0])
def test_what_clients_read_says_both_shapes(max_rows: int) -> None:
    config = read_pbtxt(CONFIG, "m")
    message = triton_config("m", fit_signature("m", config, GRAPH), config, max_rows=max_rows)
    shown = message_to_json_dict(message)

    rows = [] if max_rows else [-1]
    described = [(t["dims"], t["reshape"]["shape"]) for t in (*shown["input"], *shown["output"])]
    assert described == [
        ([*rows, 4], [*rows, 2, 2]),
        ([*rows, 1], rows),
        ([*rows, 1, 2], [*rows, 2]),
    ]


def test_what_clients_read_of_a_bare_vector_can_be_given_back() -> None:
    bare = Signature((Tensor("x", "FP32", (-1,)),), (Tensor("y", "FP32", (-1,)),))
    shown = triton_config("m", bare, ModelConfig(), max_rows=4)
    again = fit_signature("m", read_pbtxt(str(shown), "m"), bare)

    assert again.inputs[0].shape == (-1,)
    assert again.inputs[0].described == described_shape(bare.inputs[0], 4) == (-1, 1)
    assert described_shape(bare.inputs[0], 0) == (-1,)


@pytest.mark.parametrize(
    ("reshape", "words"),
    [
        ("dims: [2, 2] reshape { shape: 3 }", r"does not hold the elements of dims \[2, 2\]"),
        ("dims: -1 reshape { shape: 4 }", "as many dimensions of -1"),
        ("dims: 4 reshape { shape: [ 4, 0 ] }", "got 0"),
        ("dims: 2 reshape { }", "does not hold the elements"),
    ],
)
def test_a_reshape_of_other_elements_is_refused(reshape: str, words: str) -> None:
    text = f'max_batch_size: 4 input {{ name: "x" data_type: TYPE_FP32 {reshape} }}'
    with pytest.raises(ConfigError, match=f"input 'x'.*{words}"):
        read_pbtxt(text, "m")


def test_a_vector_of_rows_written_without_reshape_hears_what_to_write() -> None:
    text = CONFIG.replace("dims: 1 reshape { }", "dims: 1")
    with pytest.raises(ConfigError, match=r"has \[-1\]; .* dims: \[1\] reshape { }"):
        fit_signature("m", read_pbtxt(text, "m"), GRAPH)


def test_the_model_must_have_the_shape_that_it_is_given() -> None:
    text = CONFIG.replace("[ 2, 2 ]", "[ 4, 1 ]")
    with pytest.raises(ConfigError, match=r"input 'x': the configuration says \[-1, 4, 1\]"):
        fit_signature("m", read_pbtxt(text, "m"), GRAPH)
