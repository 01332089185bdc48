"""What configuration and metadata say of shapes is what requests are held to, by either door.

Triton describes a tensor that is nothing but the batch axis as ``dims: [1] reshape { }``: for its
clients that is [batch, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc
import tritonclient.http
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.clients.gateway import Gateway
from tests.small_models import write

VECTOR = """
max_batch_size: 4
input { name: "x" data_type: TYPE_INT32 dims: 1 reshape { } }
output { name: "y" data_type: TYPE_INT32 dims: 1 reshape { } }
"""
MATRIX = """
max_batch_size: 4
input { name: "x" data_type: TYPE_INT32 dims: 4 reshape { shape: [ 2, 2 ] } }
output { name: "y" data_type: TYPE_INT32 dims: [ 4, 1 ] reshape { shape: [ 2, 2 ] } }
"""
IN_A_PROCESS = 'parameters { key: "isolation" value { string_value: "process" } }\n'
UNBATCHED = """
input { name: "x" data_type: TYPE_INT32 dims: 4 reshape { shape: [ 2, 2 ] } }
output { name: "y" data_type: TYPE_INT32 dims: [ 1, 4 ] reshape { shape: [ 2, 2 ] } }
"""

# Model -> the shapes of input and output as clients are told, -1 for two rows.
TOLD = {
    "vector": ([-1, 1], [-1, 1]),
    "matrix": ([-1, 4], [-1, 4, 1]),
    "unbatched": ([4], [1, 4]),
    "bare": ([-1], [-1]),
    "isolated": ([-1, 1], [-1, 1]),
}
OWN = {"isolated": [2], "vector": [2], "matrix": [2, 2, 2], "unbatched": [2, 2], "bare": [2]}


def _double(dims: list[int | str]) -> onnx.ModelProto:
    """``y = x + x``."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT32, dims) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("shaped")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "vector", _double(["n"]), config=VECTOR)
    write(repository, "matrix", _double(["n", 2, 2]), config=MATRIX)
    write(repository, "unbatched", _double([2, 2]), config=UNBATCHED)
    write(repository, "bare", _double(["n"]))
    write(repository, "isolated", _double(["n"]), config=VECTOR + IN_A_PROCESS)
    gateway = Gateway(repository, folder / "gateway")
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def _by_grpc(gateway: Gateway, model: str, x: np.ndarray) -> np.ndarray:
    with tritonclient.grpc.InferenceServerClient(gateway.grpc) as client:
        given = tritonclient.grpc.InferInput("x", x.shape, np_to_triton_dtype(x.dtype))
        given.set_data_from_numpy(x)
        return client.infer(model, [given]).as_numpy("y")


def _by_http(binary: bool) -> Callable[[Gateway, str, np.ndarray], np.ndarray]:
    module = tritonclient.http

    def ask(gateway: Gateway, model: str, x: np.ndarray) -> np.ndarray:
        with module.InferenceServerClient(gateway.http) as client:
            given = module.InferInput("x", x.shape, np_to_triton_dtype(x.dtype))
            given.set_data_from_numpy(x, binary_data=binary)
            wanted = module.InferRequestedOutput("y", binary_data=binary)
            return client.infer(model, [given], outputs=[wanted]).as_numpy("y")

    return ask


DOORS = {"grpc": _by_grpc, "http, binary": _by_http(True), "http, JSON": _by_http(False)}


def _filled(shape: list[int]) -> np.ndarray:
    shape = [2 if size == -1 else size for size in shape]
    return np.arange(1, 1 + np.prod(shape), dtype=np.int32).reshape(shape)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("model", TOLD)
def test_a_request_as_metadata_says_gets_an_answer_as_metadata_says(
    shaped: Gateway, model: str, door: str
) -> None:
    told = shaped.get(f"/v2/models/{model}").json()
    assert (told["inputs"][0]["shape"], told["outputs"][0]["shape"]) == TOLD[model]
    x = _filled(TOLD[model][0])
    y = DOORS[door](shaped, model, x)
    np.testing.assert_array_equal(y, (x + x).reshape(_filled(TOLD[model][1]).shape))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("model", TOLD)
def test_a_request_as_the_configuration_says_gets_an_answer_as_it_says(
    shaped: Gateway, model: str, door: str
) -> None:
    said = shaped.get(f"/v2/models/{model}/config").json()
    rows = [2] if said["max_batch_size"] else []
    x = _filled(rows + said["input"][0]["dims"])
    y = DOORS[door](shaped, model, x)
    np.testing.assert_array_equal(y, (x + x).reshape(rows + said["output"][0]["dims"]))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("model", OWN)
def test_the_models_own_shape_is_taken_too(shaped: Gateway, model: str, door: str) -> None:
    x = _filled(OWN[model])
    y = DOORS[door](shaped, model, x)
    np.testing.assert_array_equal(y, (x + x).reshape(_filled(TOLD[model][1]).shape))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        ("vector", [2, 2], "[-1,1]"),
        ("vector", [2, 1, 1], "[-1,1]"),
        ("matrix", [2, 4, 1], "[-1,4]"),
        ("matrix", [8], "[-1,4]"),
        ("bare", [1, 2], "[-1]"),
    ],
)
def test_another_shape_is_refused_with_the_one_that_is_told(
    shaped: Gateway, model: str, shape: list[int], expected: str, door: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        DOORS[door](shaped, model, _filled(shape))
    assert f"Expected {expected}" in caught.value.message()


def test_both_shapes_share_batches_and_each_gets_its_own_back(shaped: Gateway) -> None:
    before = shaped.stats("bare")["execution_count"]
    shapes = [[1 + i % 3] + [1] * (i % 2) for i in range(60)]

    def ask(number: int) -> Any:
        return _by_grpc(shaped, "bare", _filled(shapes[number]) * number)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(60)))
    for number, y in enumerate(answers):
        np.testing.assert_array_equal(y, _filled(shapes[number]) * number * 2)
    assert shaped.stats("bare")["execution_count"] - before <= 60
