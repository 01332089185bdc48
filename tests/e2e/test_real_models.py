"""Real models over both doors, against onnxruntime on its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc
import tritonclient.http

from tests.clients import oip, triton
from tests.clients.gateway import ROOT, Gateway

pytestmark = pytest.mark.real_model

MODELS = ["magika", "ocr_cls", "silero_vad", "silero_vad_16k_sequence"]
# Measured: magika moves by up to 2e-5 when real files share a batch; the others by float noise.
TOLERANCE = {
    "magika": (1e-3, 5e-5),
    "ocr_cls": (1e-5, 1e-6),
    "silero_vad": (1e-4, 1e-5),
    "silero_vad_16k_sequence": (1e-4, 1e-5),
}


@pytest.fixture(scope="module")
def real(
    tmp_path_factory: pytest.TempPathFactory, real_model: Callable[[str], Path]
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("real")
    repository = folder / "repository"
    for name in MODELS:
        version = repository / name / "1"
        version.mkdir(parents=True)
        shutil.copy(real_model(name), version / "model.onnx")
    gateway = Gateway(repository, folder / "gateway")
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


@pytest.fixture(scope="module")
def alone(real_model: Callable[[str], Path]) -> Callable[[str], onnxruntime.InferenceSession]:
    sessions: dict[str, onnxruntime.InferenceSession] = {}

    def session(name: str) -> onnxruntime.InferenceSession:
        if name not in sessions:
            sessions[name] = onnxruntime.InferenceSession(real_model(name))
        return sessions[name]

    return session


# Clients: feeds in, arrays out


def over_grpc(gateway: Gateway, model: str, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with tritonclient.grpc.InferenceServerClient(gateway.grpc) as client:
        inputs = []
        for name, array in feeds.items():
            one = tritonclient.grpc.InferInput(name, array.shape, oip.datatype_of(array))
            one.set_data_from_numpy(array)
            inputs.append(one)
        result = client.infer(model, inputs)
        names = [output.name for output in result.get_response().outputs]
        return {name: result.as_numpy(name) for name in names}


def over_http(gateway: Gateway, model: str, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with tritonclient.http.InferenceServerClient(gateway.http) as client:
        inputs = []
        for name, array in feeds.items():
            one = tritonclient.http.InferInput(name, array.shape, oip.datatype_of(array))
            one.set_data_from_numpy(array, binary_data=True)
            inputs.append(one)
        result = client.infer(model, inputs)
        names = [output["name"] for output in result.get_response()["outputs"]]
        return {name: result.as_numpy(name) for name in names}


def over_json(gateway: Gateway, model: str, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    answer = gateway.infer(model, {"inputs": [oip.json_input(k, v) for k, v in feeds.items()]})
    assert answer.status == 200, answer
    return oip.json_arrays(json.loads(answer.body))


DOORS = [over_grpc, over_http, over_json]


def _close(model: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    rtol, atol = TOLERANCE[model]
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=rtol, atol=atol, err_msg=name)


def _alone(session: onnxruntime.InferenceSession, feeds: dict) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


# magika on real files

# Files of this project: the model is asked what they are.
FILES = {
    "tests/small_models.py": "python",
    "core/Cargo.toml": "toml",
    "core/engine/src/tensor.rs": "rust",
    "LICENSE": "txt",
}


def magika_features(data: bytes) -> np.ndarray:
    """INT32 [1, 2048]: the first and the last 1024 bytes, 256 where there are none."""
    if len(data) <= 4096:
        first = last = data.strip()
    else:
        first, last = data[:4096].lstrip(), data[-4096:].rstrip()
    row = np.full(2048, 256, np.int32)
    head, tail = first[:1024], last[-1024:]
    row[: len(head)] = np.frombuffer(head, np.uint8)
    row[2048 - len(tail) :] = np.frombuffer(tail, np.uint8)
    return row[None]


@pytest.fixture(scope="module")
def labels(real_model: Callable[[str], Path]) -> list[str]:
    return json.loads(real_model("magika_config").read_text())["target_labels_space"]


@pytest.mark.parametrize("door", DOORS)
def test_magika_tells_real_files_apart(real, alone, labels, real_model, door) -> None:
    files = {name: (ROOT / name).read_bytes() for name in FILES}
    files["a model"] = real_model("ocr_cls").read_bytes()
    expected = {**FILES, "a model": "onnx"}
    for name, data in files.items():
        feeds = {"bytes": magika_features(data)}
        found = door(real, "magika", feeds)
        _close("magika", found, _alone(alone("magika"), feeds))
        assert labels[int(found["target_label"].argmax())] == expected[name]


def test_magika_batched_equals_single(real, alone) -> None:
    files = sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "core").rglob("*.rs"))
    # Of a module of one line onnxruntime by itself answers 0.2391 alone and 0.2395 in any batch, so
    # files are taken whose bytes fill both halves of its input.
    whole = [data for path in files if len(data := path.read_bytes()) >= 2048]
    feeds = [{"bytes": magika_features(data)} for data in whole[:40]]
    before = real.stats("magika")["execution_count"]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda one: over_grpc(real, "magika", one), feeds))
    for one, got in zip(feeds, found, strict=True):
        _close("magika", got, _alone(alone("magika"), one))
    assert real.stats("magika")["execution_count"] - before < len(feeds), "nothing was batched"
    together = {"bytes": np.concatenate([one["bytes"] for one in feeds])}
    _close("magika", over_http(real, "magika", together), _alone(alone("magika"), together))


# The OCR direction classifier


@pytest.mark.parametrize("door", DOORS)
def test_ocr_direction(real, alone, door) -> None:
    x = np.random.default_rng(5).random((3, 3, 48, 192), np.float32) * 2 - 1
    _close("ocr_cls", door(real, "ocr_cls", {"x": x}), _alone(alone("ocr_cls"), {"x": x}))


def test_ocr_direction_batched_equals_single(real, alone) -> None:
    random = np.random.default_rng(6)
    feeds = [{"x": random.random((1, 3, 48, 192), np.float32)} for _ in range(24)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda one: over_grpc(real, "ocr_cls", one), feeds))
    for one, got in zip(feeds, found, strict=True):
        _close("ocr_cls", got, _alone(alone("ocr_cls"), one))


# Silero VAD: state in axis 1, a rank-0 input; and the form whose axis 0 is time


@pytest.mark.parametrize("door", DOORS)
def test_silero_carries_its_state(real, alone, door) -> None:
    random = np.random.default_rng(7)
    state = np.zeros((2, 1, 128), np.float32)
    for _ in range(4):
        feeds = {
            "input": random.random((1, 512), np.float32) * 2 - 1,
            "state": state,
            "sr": np.asarray(16000, np.int64),
        }
        found = door(real, "silero_vad", feeds)
        _close("silero_vad", found, _alone(alone("silero_vad"), feeds))
        state = found["stateN"]


def test_silero_callers_do_not_meet(real, alone) -> None:
    random = np.random.default_rng(8)
    feeds = [
        {
            "input": random.random((1, 512), np.float32) * 2 - 1,
            "state": random.random((2, 1, 128), np.float32),
            "sr": np.asarray(16000, np.int64),
        }
        for _ in range(30)
    ]
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda one: over_grpc(real, "silero_vad", one), feeds))
    for one, got in zip(feeds, found, strict=True):
        _close("silero_vad", got, _alone(alone("silero_vad"), one))


def _sequence(random: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    return {
        "input": random.random((length, 576), np.float32) * 2 - 1,
        "h": np.zeros((1, 1, 128), np.float32),
        "c": np.zeros((1, 1, 128), np.float32),
    }


@pytest.mark.parametrize("door", DOORS)
def test_silero_sequence(real, alone, door) -> None:
    feeds = _sequence(np.random.default_rng(9), 5)
    model = "silero_vad_16k_sequence"
    _close(model, door(real, model, feeds), _alone(alone(model), feeds))


def test_silero_sequences_are_never_stacked(real, alone) -> None:
    """Fact C4: stacked, the second caller would get wrong scores, silently."""
    random, model = np.random.default_rng(10), "silero_vad_16k_sequence"
    feeds = [_sequence(random, 1 + i % 4) for i in range(30)]
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda one: over_grpc(real, model, one), feeds))
    for one, got in zip(feeds, found, strict=True):
        _close(model, got, _alone(alone(model), one))


def test_which_models_are_batched_is_right(real: Gateway) -> None:
    sizes = {
        name: real.get(f"/v2/models/{name}/config").json()["max_batch_size"] for name in MODELS
    }
    assert sizes == {"magika": 64, "ocr_cls": 64, "silero_vad": 0, "silero_vad_16k_sequence": 0}


def test_an_output_no_tensor_can_carry_is_left_out(start_gateway, repository) -> None:
    """E5: scikit-learn's sequence of maps; the labels are served."""
    from onnxruntime.datasets import get_example

    version = repository / "iris" / "1"
    version.mkdir(parents=True)
    shutil.copy(get_example("logreg_iris.onnx"), version / "model.onnx")
    gateway = start_gateway(repository)
    metadata = gateway.get("/v2/models/iris").json()
    assert [one["datatype"] for one in metadata["outputs"]] == ["INT64"]
    session = onnxruntime.InferenceSession(get_example("logreg_iris.onnx"))
    x = np.array([[5, 3], [6, 2], [4, 1]], np.float32)
    (expected,) = session.run([metadata["outputs"][0]["name"]], {"float_input": x})
    for door in DOORS:
        (found,) = door(gateway, "iris", {"float_input": x}).values()
        np.testing.assert_array_equal(found, expected)
    assert "output 'probabilities' is left out" in gateway.log()
    assert "zipmap" in metadata["properties"]["notes"]
    _assert_refused_with_the_cure(gateway, x)


def _assert_refused_with_the_cure(gateway: Gateway, x: np.ndarray) -> None:
    """Whoever asks for the output by name hears what it is, and how to get a tensor."""
    words = "unexpected inference output 'probabilities' for model 'iris': the model gives it as"
    body = {"inputs": [oip.json_input("float_input", x)], "outputs": [{"name": "probabilities"}]}
    refused = gateway.infer("iris", body)
    assert refused.status == 400
    request = oip.grpc_request("iris", {"float_input": x}, outputs=["probabilities"])
    with triton.channel(gateway) as channel:
        error = triton.refusal(triton.stub(channel).ModelInfer, request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    for text in (refused.json()["error"], error.details()):
        assert text.startswith(f"{words} seq(map(int64,tensor(float)))")
        assert "options={'zipmap': False}" in text
