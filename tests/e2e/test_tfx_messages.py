"""Our messages of data against TFX's own classes, which read what we write and write what we
read."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2

from serving.statistics.dataset import DatasetSketch
from serving.statistics.features import of_tensors
from serving.statistics.forms import dump, parse
from serving.statistics.metadata import DESCRIPTORS, Form, Kind, messages, unknown
from tests.clients import environments, tfx_environment

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "clients" / "tfx_messages.py"
OURS = ROOT / "serving" / "statistics" / DESCRIPTORS
FORMS = {".binpb": Form.BINARY, ".pbtxt": Form.TEXT}
pytestmark = [pytest.mark.tfs, pytest.mark.timeout(400)]


def made_here() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    sketch = DatasetSketch()
    texts = np.asarray(["a", "b", "", "\u00e9"] * 25, object)
    columns = {"x": rng.normal(size=(100, 3)), "n": rng.integers(0, 9, 100), "t": texts}
    sketch.add(of_tensors({**columns, "image": np.full((100, 2, 2), np.nan)}))
    statistics = messages.DatasetFeatureStatisticsList(datasets=[sketch.message("All Examples")])
    schema = messages.Schema()
    schema.feature.add(name="x", type=3).skew_comparator.infinity_norm.threshold = 0.1
    anomalies = messages.Anomalies(baseline=schema)
    anomalies.anomaly_info["x"].reason.add(type=42, description="too far")
    return {
        "DatasetFeatureStatisticsList.ours": statistics,
        "Schema.ours": schema,
        "Anomalies.ours": anomalies,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With what TFX's classes made of what we wrote, and made themselves."""
    found = tmp_path_factory.mktemp("tfx")
    for name, message in made_here().items():
        for suffix, form in FORMS.items():
            (found / f"{name}{suffix}").write_bytes(dump(message, form))
    command = [str(tfx_environment.python()), str(PROGRAM), str(found)]
    done = subprocess.run(
        command,
        env=environments.variables(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return found


def _described(data: bytes) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Files of TFX's package, without what generated code of other languages is called."""
    listed = descriptor_pb2.FileDescriptorSet.FromString(data)
    files = {file.name: file for file in listed.file if "tensorflow_metadata" in file.name}
    for file in files.values():
        file.ClearField("options")
        for message in file.message_type:
            _forget_json_names(message)
    return files


def _forget_json_names(message: descriptor_pb2.DescriptorProto) -> None:
    """Which a class's descriptor does not tell, and which follow from the fields' own."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _forget_json_names(nested)


def test_every_message_field_and_number_is_tfxs(folder: Path) -> None:
    theirs = _described((folder / "descriptors.binpb").read_bytes())
    ours = _described(OURS.read_bytes())

    assert ours.keys() == theirs.keys()
    for name, file in theirs.items():
        assert ours[name] == file


def test_tfx_reads_and_writes_what_we_wrote_byte_by_byte(folder: Path) -> None:
    written = sorted(path.name for path in folder.glob("*.ours.*"))
    assert len(written) == 6
    for name in written:
        assert (folder / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_we_read_and_write_what_tfx_wrote_byte_by_byte(folder: Path) -> None:
    made = sorted((folder / "made").iterdir())
    assert len(made) == 18
    for path in made:
        form = FORMS[path.suffix]
        message = parse(path.read_bytes(), Kind(path.name.partition(".")[0]), form)
        assert unknown(message) == []
        assert dump(message, form) == path.read_bytes()
