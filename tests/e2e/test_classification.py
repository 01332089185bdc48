"""Triton's classification: the largest elements of each row as texts, over both doors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.clients.gateway import Gateway, wait_until
from tests.small_models import identity, tiny, tiny_expected, write

OUTPUT = 'output { name: "y" data_type: TYPE_FP32 dims: 3 label_filename: "labels.txt" }\n'
LABELS = "cat\nbig dog\nfish: blue\n"
X = np.array([[1, 2, 3, 4], [4, -3, 2, 1], [0, 0, 0, 0]], np.float32)


def _tiny(repository: Path, name: str, config: str = "max_batch_size: 8\n" + OUTPUT) -> None:
    (repository / name).mkdir()
    (repository / name / "labels.txt").write_text(LABELS)
    write(repository, name, tiny(), config=config)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("classes")
    repository = folder / "repository"
    repository.mkdir()
    _tiny(repository, "named")
    apart = 'parameters { key: "isolation" value { string_value: "process" } }\n'
    _tiny(repository, "isolated", "max_batch_size: 8\n" + OUTPUT + apart)
    (repository / "whole").mkdir()
    (repository / "whole" / "names.txt").write_text("a\n\nc")
    yaml = "max_batch_size: 0\noutputs: [{name: y, label_filename: names.txt}]\n"
    write(repository, "whole", tiny(), yaml=yaml)
    for datatype in ("BOOL", "FP16", "BF16", "BYTES", "INT64", "UINT8"):
        write(repository, datatype, identity(datatype))
    gateway = Gateway(repository, folder / "gateway")
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


Ask = Callable[..., Any]


def _asking(module: Any, address: str, **how: bool) -> Ask:
    def ask(gateway: Gateway, model: str, x: np.ndarray, k: int, names: str = "xy") -> Any:
        with module.InferenceServerClient(getattr(gateway, address)) as client:
            given = module.InferInput(names[0], x.shape, np_to_triton_dtype(x.dtype))
            given.set_data_from_numpy(x, **how)
            wanted = module.InferRequestedOutput(names[1], class_count=k, **how)
            return client.infer(model, [given], outputs=[wanted]).as_numpy(names[1])

    return ask


def _streamed(gateway: Gateway, model: str, x: np.ndarray, k: int, names: str = "xy") -> Any:
    module = tritonclient.grpc
    answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    with module.InferenceServerClient(gateway.grpc) as client:
        given = module.InferInput(names[0], x.shape, np_to_triton_dtype(x.dtype))
        given.set_data_from_numpy(x)
        client.start_stream(lambda result, error: answers.put((result, error)))
        wanted = module.InferRequestedOutput(names[1], class_count=k)
        client.async_stream_infer(model, [given], outputs=[wanted])
        result, error = answers.get(timeout=20)
        if error is not None:
            raise error
        return result.as_numpy(names[1])


DOORS: dict[str, Ask] = {
    "grpc": _asking(tritonclient.grpc, "grpc"),
    "a grpc stream": _streamed,
    "http, binary": _asking(tritonclient.http, "http", binary_data=True),
    "http, JSON": _asking(tritonclient.http, "http", binary_data=False),
}


def _texts(answer: Any) -> Any:
    """JSON brings texts, all else bytes."""
    decode = np.vectorize(
        lambda one: one.decode() if isinstance(one, bytes) else one, otypes=[object]
    )
    return decode(answer).tolist() if answer.size else answer.tolist()


def _expected(row: np.ndarray, k: int, labels: Sequence[str] = LABELS.splitlines()) -> list[str]:
    order = sorted(range(len(row)), key=lambda index: -row[index])
    named = [f":{labels[index]}" if labels and labels[index] else "" for index in order]
    return [f"{row[at]:.6f}:{at}{name}" for at, name in zip(order, named, strict=True)][:k]


def _same(found: str, expected: str) -> bool:
    """But for the last digit, which how the model is run may change."""
    (value, names), (other, others) = found.split(":", 1), expected.split(":", 1)
    six = re.fullmatch(r"\d+\.\d{6}", value)
    return names == others and bool(six) and abs(float(value) - float(other)) < 3e-6


def _check(answer: Any, x: np.ndarray, k: int) -> None:
    found = _texts(answer)
    expected = [_expected(row, k) for row in tiny_expected(x)]
    assert np.shape(found) == np.shape(expected)
    pairs = zip(np.ravel(found), np.ravel(expected), strict=True)
    assert all(_same(one, other) for one, other in pairs), (found, expected)


@pytest.mark.parametrize("k", [1, 2, 3, 100])
@pytest.mark.parametrize("door", DOORS)
def test_each_row_has_its_largest_elements_with_their_labels(
    classes: Gateway, door: str, k: int
) -> None:
    _check(DOORS[door](classes, "named", X, k), X, k)


def test_a_model_in_a_process_of_its_own_has_labels_too(classes: Gateway) -> None:
    _check(DOORS["grpc"](classes, "isolated", X, 2), X, 2)


@pytest.mark.parametrize("door", DOORS)
def test_an_unbatched_models_output_is_one_row(classes: Gateway, door: str) -> None:
    found = _texts(DOORS[door](classes, "whole", X[:1], 2))
    expected = _expected(tiny_expected(X[:1])[0], 2, ["a", "", "c"])
    assert len(found) == 2
    assert all(_same(one, other) for one, other in zip(found, expected, strict=True)), found


@pytest.mark.parametrize("door", DOORS)
def test_integers_are_exact(classes: Gateway, door: str) -> None:
    x = np.array([[2**62, -(2**63), 2**63 - 1], [5, 5, 7]], np.int64)
    found = _texts(DOORS[door](classes, "INT64", x, 2, "XY"))
    assert found == [["9223372036854775807:2", "4611686018427387904:0"], ["7:2", "5:0"]]


VALUES = {"BOOL": np.bool_, "FP16": np.float16, "BYTES": np.object_}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("datatype", VALUES)
def test_other_datatypes_are_refused(classes: Gateway, datatype: str, door: str) -> None:
    x = np.array([["a"]], np.object_) if datatype == "BYTES" else np.ones((1, 1), VALUES[datatype])
    if datatype == "FP16" and door == "http, JSON":
        pytest.skip("no such input in JSON")
    with pytest.raises(InferenceServerException) as caught:
        DOORS[door](classes, datatype, x, 1, "XY")
    assert f"due to unsupported type '{datatype}'" in caught.value.message()


@pytest.mark.parametrize("door", ["grpc", "http, binary"])
def test_more_than_a_million_elements_are_refused(classes: Gateway, door: str) -> None:
    x = np.zeros((1, 1_000_001), np.uint8)
    with pytest.raises(InferenceServerException, match="1000001 elements, at most 1000000"):
        DOORS[door](classes, "UINT8", x, 1, "XY")
    assert _texts(DOORS[door](classes, "UINT8", x[:, 1:], 2, "XY")) == [["0:0", "0:1"]]


@pytest.mark.parametrize("door", ["grpc", "http, binary", "http, JSON"])
def test_a_count_that_is_none_is_refused(classes: Gateway, door: str) -> None:
    with pytest.raises(InferenceServerException, match="classification"):
        DOORS[door](classes, "named", X, -1)


def test_fault_67_classes_do_not_go_into_shared_memory(classes: Gateway) -> None:
    parameters = {"classification": 1, "shared_memory_region": "r"}
    given = {"name": "x", "shape": [3, 4], "datatype": "FP32", "data": X.ravel().tolist()}
    body = {"inputs": [given], "outputs": [{"name": "y", "parameters": parameters}]}
    answer = classes.infer("named", body)
    assert answer.status == 400
    assert "'classification'" in answer.json()["error"]


def test_requests_of_one_batch_get_what_each_asks_for(classes: Gateway) -> None:
    rows = np.random.default_rng(3).normal(size=(200, 1, 4)).astype(np.float32)

    def ask(number: int) -> None:
        k, x = number % 4, rows[number]
        answer = DOORS["grpc"](classes, "named", x, k)
        if k:
            _check(answer, x, k)
        else:
            np.testing.assert_allclose(answer, tiny_expected(x), rtol=1e-4)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(200)))


def test_metadata_and_configuration_name_the_file(classes: Gateway) -> None:
    assert "classification" in classes.get("/v2").json()["extensions"]
    for model, file in (("named", "labels.txt"), ("whole", "names.txt")):
        (output,) = classes.get(f"/v2/models/{model}/config").json()["output"]
        assert output["label_filename"] == file
        told = classes.get(f"/v2/models/{model}").json()["properties"]
        assert told["labels"] == f"y: {file}"
    with tritonclient.grpc.InferenceServerClient(classes.grpc) as client:
        assert client.get_model_config("named").config.output[0].label_filename == "labels.txt"


def test_other_labels_are_another_configuration(start_gateway: Any, repository: Path) -> None:
    _tiny(repository, "named")
    gateway = start_gateway(repository)
    _check(DOORS["grpc"](gateway, "named", X, 1), X, 1)
    (repository / "named" / "labels.txt").write_text("one\ntwo\nthree\n")

    def changed() -> bool:
        return (
            _texts(DOORS["grpc"](gateway, "named", X[:1], 1))[0][0].split(":")[2] in "one two three"
        )

    wait_until(changed, 20, "the new labels answer")
    (repository / "named" / "labels.txt").unlink()
    # What is wrong is said, and what serves goes on.
    wait_until(lambda: "labels.txt" in str(gateway.models()), 20, "the file is missed")
    assert changed()


def test_a_load_may_bring_a_configuration_with_labels(start_gateway: Any, repository: Path) -> None:
    _tiny(repository, "named", "max_batch_size: 8\n")
    gateway = start_gateway(repository, {"model_control": "explicit", "load_models": "*"})
    output = '{"name": "y", "data_type": "TYPE_FP32", "dims": [3], "label_filename": "%s"}'
    config = '{"max_batch_size": 8, "output": [%s]}'
    with tritonclient.http.InferenceServerClient(gateway.http) as client:
        for wrong in ("no.txt", "../named/labels.txt"):
            with pytest.raises(InferenceServerException, match=r"label_filename|no\.txt"):
                client.load_model("named", config=config % (output % wrong))
        client.load_model("named", config=config % (output % "labels.txt"))
    _check(DOORS["http, binary"](gateway, "named", X, 3), X, 3)
