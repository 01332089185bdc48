"""TensorFlow Serving's own generated stubs against the gateway."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.wire import messages
from tests.clients import environments, tfs_environment
from tests.clients.gateway import ROOT, Gateway
from tests.clients.witness import EXPECTED
from tests.small_models import lay_examples, scale, tiny_expected, write

# The first time, the stubs and what they need are installed.
pytestmark = [pytest.mark.tfs, pytest.mark.timeout(400)]

# Than the package of TensorFlow's messages.
YOUNGER = {("tensorflow.SignatureDef", "defaults")}
CLIENTS = ROOT / "tests" / "clients"


def called(program: str, gateway: Gateway, *more: str) -> dict[str, Any]:
    """What came of each call of one of the programs there."""
    done = subprocess.run(
        [str(tfs_environment.python()), str(CLIENTS / program), gateway.grpc, *more],
        env=environments.variables(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def seen(gateway: Gateway) -> dict[str, Any]:
    return called("tfs_calls.py", gateway)


def test_a_model_config_list_is_reloaded(start_gateway: Any, repository: Path) -> None:
    write(repository, "m", scale(1), 1)
    write(repository, "m", scale(2), 2)
    gateway = start_gateway(repository, {"model_control": "explicit"})
    text = f"""model_config_list {{ config {{
        name: 'mine' base_path: '{repository}/m' model_platform: 'tensorflow'
        model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
        version_labels {{ key: 'stable' value: 1 }} version_labels {{ key: 'canary' value: 2 }}
        logging_config {{ sampling_config {{ sampling_rate: 0.5 }} }} }} }}"""
    assert called("tfs_calls.py", gateway, text) == {"reload": [True, 0]}
    shown = gateway.get("/api/v1/models/mine", port=gateway.admin_port).json()
    assert shown["aliases"] == {"canary": 2, "stable": 1}


def test_predict_answers_with_the_version_that_it_names(seen: dict[str, Any]) -> None:
    np.testing.assert_allclose(np.array([seen["tiny"]]), EXPECTED, rtol=1e-5)
    assert seen["spec"] == ["tiny", 1, "serving_default"]
    assert seen["version"] == 2
    assert seen["texts"] == ["a", "é 漢字"]


def test_status_and_metadata_are_read(seen: dict[str, Any]) -> None:
    assert seen["status"] == [[version, "AVAILABLE"] for version in (7, 2, 1)]
    assert seen["metadata"] == ["tensorflow/serving/predict", "x:0", "DT_FLOAT", [-1, 4]]


def test_refusals_have_the_originals_words(seen: dict[str, Any]) -> None:
    code, words = seen["unknown"]
    assert code == "NOT_FOUND"
    assert words.startswith("Servable not found for request: Latest(nowhere)")
    assert seen["classify"][0] == "INVALID_ARGUMENT"


def test_our_messages_have_the_originals_numbers(seen: dict[str, Any]) -> None:
    compared = 0
    for name, theirs in seen["fields"].items():
        try:
            ours = messages.pool.FindMessageTypeByName(name)
        except KeyError:
            continue
        for field in ours.fields:
            if (name, field.name) in YOUNGER:
                continue
            assert theirs[field.name] == field.number, (name, field.name)
            compared += 1
    assert compared > 50


def test_examples_are_classified_and_regressed(start_gateway: Any, repository: Path) -> None:
    lay_examples(repository)
    found = called("tfs_examples.py", start_gateway(repository))
    rows = np.array([[score for _, score in row] for row in found["classified"]])
    expected = tiny_expected(np.array([[1, 2, 3, 4], [0, 0, 0, 0]], np.float32))
    np.testing.assert_allclose(rows, expected, rtol=1e-5)
    assert [label for label, _ in found["classified"][0]] == ["cat", "big dog", "fish"]
    assert found["spec"] == [1, "kinds"]
    assert found["regressed"] == [5.0, 5.0]
    assert found["several"] == ["regression_result", "classification_result"]
    assert found["values"] == [3.0, [[["", 3.0]]]]
    serving = "tensorflow/serving/"
    assert found["methods"] == {
        "serving_default": f"{serving}predict",
        "values": f"{serving}regress",
        "scores": f"{serving}classify",
    }
