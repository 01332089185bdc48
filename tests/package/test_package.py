"""The wheel, on its own: what it holds, and that it serves from an empty environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.clients.gateway import ROOT
from tests.package import wheels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The models trained anew, and scikit-learn's own accuracy of each version."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, ROOT / "examples" / "train_digits.py", folder]
    # So small a network trains faster on one thread.
    said = wheels.run(command, OMP_NUM_THREADS="1")
    found = re.findall(r"version (\d): .*accuracy ([\d.]+),", said)
    assert [version for version, _ in found] == ["1", "2"], said
    return folder, dict(found)


def classify(port: int) -> int:
    """The label that ``digits`` gives to an image of a zero drawn by hand."""
    ring = [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0, 0, 3, 15, 2, 0, 11, 8, 0]
    ring += [0, 4, 12, 0, 0, 8, 8, 0, 0, 5, 8, 0, 0, 9, 8, 0, 0, 4, 11, 0, 1, 12, 7, 0]
    ring += [0, 2, 14, 5, 10, 12, 0, 0, 0, 0, 6, 13, 10, 0, 0, 0]
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 64], "data": ring}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v2/models/digits/infer",
        json.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return int(json.load(answer)["outputs"][0]["data"][0])


def test_the_wheel_is_abi3_and_holds_only_the_package(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top.removesuffix(".dist-info") for top in tops} <= {
        "serving",
        wheel.name.rsplit("-", 3)[0],
        f"{wheel.name.rsplit('-', 3)[0]}.libs",
    }
    assert "serving/_core.abi3.so" in names
    assert "serving/_core.pyi" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".onnx", ".rs", ".proto", ".json"))]


def test_the_wheel_has_the_page_and_swagger_ui_with_its_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    folder = "serving/protocols/pages"
    names = {name for name in archive.namelist() if name.startswith(folder)}
    assert {f"{folder}/{name}" for name in ("docs.html", "plain.html", "plain.js")} <= names
    if not (ROOT / folder / "bundle").exists():
        pytest.skip("built without Swagger UI: the package index was out of reach")
    assert f"{folder}/bundle/swagger-ui-bundle.js" in names
    assert b"Apache License" in archive.read(f"{folder}/bundle/LICENSE.txt")


def test_the_wheel_has_the_console_and_the_chart_library_with_its_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    folder = "serving/control/console"
    names = {name for name in archive.namelist() if name.startswith(folder)}
    own = {f"{folder}/static/{path.name}" for path in (ROOT / folder / "static").iterdir()}
    assert own <= names
    if not (ROOT / folder / "bundle").exists():
        pytest.skip("built without the chart library: npm was out of reach")
    assert b"uPlot" in archive.read(f"{folder}/bundle/uPlot.iife.min.js")
    assert b"Permission is hereby granted" in archive.read(f"{folder}/bundle/LICENSE.txt")


def test_the_version_has_one_source(installed: Path) -> None:
    version = wheels.run([installed / "bin" / "serving", "--version"])
    metadata = wheels.run(
        [
            installed / "bin" / "python",
            "-c",
            "import importlib.metadata as m; print(m.version('serving'))",
        ]
    )
    assert metadata.strip() in version


def test_the_installed_wheel_serves_and_leaves_an_empty_home_empty(
    installed: Path, tmp_path: Path
) -> None:
    """Fact C16: onnxruntime would write a device id and an event database below the home."""
    home = tmp_path / "home"
    home.mkdir()
    command = [installed / "bin" / "serving", "start", ROOT / "model_repo"]
    places = {"HOME": str(home), "XDG_STATE_HOME": str(tmp_path / "state")}
    with wheels.serving(command, tmp_path, places) as ports:
        assert classify(ports["http"]) == 0
    assert list(home.rglob("*")) == []
    # What the gateway itself writes is in its own directory.
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["serving"]


def test_commands_leave_an_empty_home_empty(installed: Path, tmp_path: Path) -> None:
    """Fact C16, for the commands that load models or look at onnxruntime."""
    home = tmp_path / "home"
    home.mkdir()
    for command in (["doctor"], ["check", str(ROOT / "model_repo")]):
        subprocess.run(
            [installed / "bin" / "serving", *command],
            env={**wheels.clean_environment(), "HOME": str(home)},
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
    assert list(home.rglob("*")) == []


def test_without_onnxruntime_the_command_says_what_to_install(
    installed: Path, tmp_path: Path
) -> None:
    """The wheel without an extra: a sentence, not a stack trace."""
    hide = "import sys; sys.modules['onnxruntime'] = None; import serving.cli; serving.cli.main()"
    done = subprocess.run(
        [installed / "bin" / "python", "-c", hide, "start", str(ROOT / "model_repo")],
        env=wheels.clean_environment() | {"SERVING_HTTP_PORT": "0", "SERVING_GRPC_PORT": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "serving[cpu]" in text, text
    assert "Traceback" not in text


def test_training_again_gives_the_committed_models(trained: tuple[Path, dict[str, str]]) -> None:
    """``model_repo/digits`` is what ``examples/train_digits.py`` says it is: the same graph, and
    the same digits. Weights differ a little with the processor and its linear algebra."""
    folder, _ = trained
    compare = (
        "import sys, numpy as np, onnx, onnxruntime as ort\n"
        "from sklearn.datasets import load_digits\n"
        "one, two = (onnx.load(path) for path in sys.argv[1:])\n"
        "assert [n.op_type for n in one.graph.node] == [n.op_type for n in two.graph.node]\n"
        "shapes = [[(i.name, i.dims) for i in m.graph.initializer] for m in (one, two)]\n"
        "assert shapes[0] == shapes[1]\n"
        "images = load_digits().data.astype(np.float32)\n"
        "digits = [ort.InferenceSession(path).run(['label'], {'image': images})[0]\n"
        "          for path in sys.argv[1:]]\n"
        "assert np.mean(digits[0] == digits[1]) > 0.98\n"
    )
    for version in ("1", "2"):
        fresh = folder / version / "model.onnx"
        committed = ROOT / "model_repo" / "digits" / version / "model.onnx"
        wheels.run([sys.executable, "-c", compare, fresh, committed])


def test_the_example_agrees_with_scikit_learn(
    installed: Path, trained: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """Both doors, both versions, on images the models were not trained on."""
    _, accuracies = trained
    command = [installed / "bin" / "serving", "start", ROOT / "model_repo"]
    with wheels.serving(command, tmp_path, {}) as ports:
        for version, figure in accuracies.items():
            answer = wheels.run(
                [
                    sys.executable,
                    ROOT / "examples" / "predict_digits.py",
                    *("--version", version),
                    *("--http", f"127.0.0.1:{ports['http']}"),
                    *("--grpc", f"127.0.0.1:{ports['grpc']}"),
                ],
                PYTHONPATH=str(ROOT),
            )
            assert answer.count(f"accuracy {figure}") == 2, (figure, answer)
