"""TFX's messages: their classes, what files hold of them, and files that lie."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from serving.statistics import files
from serving.statistics.forms import dump, parse
from serving.statistics.metadata import (
    MOST_TEXT_BYTES,
    SUFFIXES,
    Form,
    FormatError,
    Kind,
    form_of,
    messages,
    unknown,
)
from tests.clients import tf_records

ROOT = Path(__file__).parents[3]
# A number that no message of this release has.
LATER = b"\xba\x3e\x05later"


def schema() -> Any:
    made = messages.Schema()
    age = made.feature.add(name="age", type=2)
    age.int_domain.max = 120
    age.presence.min_fraction = 1.0
    return made


def statistics() -> Any:
    made = messages.DatasetFeatureStatisticsList()
    data = made.datasets.add(name="train", num_examples=3)
    feature = data.features.add(type=1)
    feature.path.step.append("age")
    feature.num_stats.mean = 0.5
    feature.num_stats.common_stats.num_non_missing = 3
    return made


def anomalies() -> Any:
    made = messages.Anomalies()
    made.anomaly_info["age"].description = "too old"
    made.anomaly_info["age"].reason.add(type=28)
    return made


MADE = {Kind.SCHEMA: schema, Kind.STATISTICS: statistics, Kind.ANOMALIES: anomalies}


def test_the_descriptors_are_those_of_the_protos(tmp_path: Path) -> None:
    """``make protos`` compiles them."""
    fresh = tmp_path / "fresh.binpb"
    protos = ROOT / "protos"
    found = (protos / "tensorflow_metadata").rglob("*.proto")
    options = ("-I", "protos", "--include_imports", f"--descriptor_set_out={fresh}")
    names = [str(file.relative_to(protos)) for file in found]
    command = (sys.executable, "-m", "grpc_tools.protoc", *options, *names)
    subprocess.run(command, cwd=ROOT, timeout=60, check=True)

    def read(serialized: bytes) -> dict[str, Any]:
        listed = descriptor_pb2.FileDescriptorSet.FromString(serialized)
        return {file.name: file for file in listed.file}

    ours = ROOT / "serving" / "statistics" / "tensorflow_metadata.binpb"
    assert read(ours.read_bytes()) == read(fresh.read_bytes())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", Kind)
def test_each_message_is_read_from_a_file_as_it_was_written(
    kind: Kind, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"file{suffix}"

    files.write(path, MADE[kind]())

    assert files.read(path, kind) == MADE[kind]()
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("kind", Kind)
def test_another_message_than_expected_is_told(kind: Kind, form: Form) -> None:
    for other in Kind:
        if other is not kind:
            with pytest.raises(FormatError, match=str(kind)):
                parse(dump(MADE[other](), form), kind, form)


def test_the_text_is_tfxs() -> None:
    assert dump(schema(), Form.TEXT).decode() == (
        'feature {\n  name: "age"\n  type: INT\n  int_domain {\n    max: 120\n  }\n'
        "  presence {\n    min_fraction: 1.0\n  }\n}\n"
    )


def test_json_has_the_fields_as_the_protos_name_them() -> None:
    text = dump(statistics(), Form.JSON).decode()

    assert '"num_examples": "3"' in text
    assert '"num_non_missing": "3"' in text


def test_fields_of_a_later_release_are_kept_and_named() -> None:
    kept = schema()
    data = kept.SerializeToString() + LATER

    read = parse(data, Kind.SCHEMA, Form.BINARY)

    assert unknown(read) == ["Schema.999"]
    assert dump(read, Form.BINARY) == data
    read.feature[0].MergeFromString(LATER)
    assert unknown(read) == ["Schema.999", "Feature.999"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'feature {\n  nmae: "x"\n}', "line 2: Feature has no field 'nmae'; did you mean 'name'?"),
        (b"feature { type: INTT }", "FeatureType has no value 'INTT'; did you mean 'INT'?"),
        (b"feature {", "line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (b"feature { struct_domain { " * 3000, "line 1|deeply"),
    ],
)
def test_a_wrong_text_is_told_with_its_line(text: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        parse(text, Kind.SCHEMA, Form.TEXT)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("form", [Form.BINARY, Form.RECORD, Form.JSON])
def test_a_file_that_ends_early_is_told(form: Form) -> None:
    for kind in Kind:
        whole = dump(MADE[kind](), form)
        for end in range(1, len(whole) - 2):
            try:
                found = parse(whole[:end], kind, form)
            except FormatError:
                continue
            # Where a message ends with a field, what is left is one, too.
            assert form is Form.BINARY
            assert found != MADE[kind]()


@pytest.mark.parametrize(
    ("data", "form", "said"),
    [
        (b"", Form.BINARY, "no data set"),
        (b"{}", Form.JSON, "no data set"),
        (b"not a message", Form.BINARY, "not TFX's"),
        (b'{"data": []}', Form.JSON, 'no field named "data"'),
        (b"[" * 100_000, Form.JSON, "JSON|deeply"),
        (2 * tf_records.record(b"\x0a\x00"), Form.RECORD, "it has more than 1"),
        (tf_records.record(b"\x0a\x00")[:-1] + b"\x00", Form.RECORD, "checksum"),
        (b"\xff" * 40, Form.RECORD, "checksum"),
        (b"", Form.RECORD, "no record"),
        (b"\x0a\x00" * 1_000_001, Form.BINARY, "more than 1,000,000 messages"),
        (b" " * 1_048_577, Form.TEXT, "a line has more than 1,048,576"),
        (b'"a"\n' * 1_000_001, Form.TEXT, "more than 1,000,000 texts"),
        (b"datasets{}" * 400_001, Form.TEXT, "more than 400,000 messages"),
        (b"datasets<>" * 400_001, Form.TEXT, "more than 400,000 messages"),
        (b'{"datasets":[' + b"{}," * 400_001 + b"{}]}", Form.JSON, "more than 400,000 messages"),
        (b'{"later":[' + b"[]," * 400_001 + b"[]]}", Form.JSON, "more than 400,000 messages"),
        (b" " * (MOST_TEXT_BYTES + 1), Form.TEXT, "more than 16,777,216 bytes"),
    ],
)
def test_what_is_no_statistics_is_told(data: bytes, form: Form, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        parse(data, Kind.STATISTICS, form)


def test_a_record_has_tensorflows_checksums() -> None:
    binary, record = (dump(schema(), form) for form in (Form.BINARY, Form.RECORD))
    assert record == tf_records.record(binary)
    assert parse(record, Kind.SCHEMA, Form.RECORD) == schema()


@pytest.mark.parametrize(
    ("name", "form"),
    [("FeatureStats.pb", Form.BINARY), ("stats_tfrecord", Form.RECORD), ("a.pbtxt", Form.TEXT)],
)
def test_a_files_name_says_its_form(name: str, form: Form) -> None:
    assert form_of(name) is form


def test_a_name_without_a_form_is_told() -> None:
    with pytest.raises(FormatError, match=r"expected \.pb"):
        form_of("stats.txt")


def test_a_file_that_is_not_there_is_told_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"^there is no such file$"):
        files.read(tmp_path / "schema.pbtxt", Kind.SCHEMA)
    (tmp_path / "x.pb").mkdir()
    with pytest.raises(FormatError, match=r"^it cannot be read: not a regular file$"):
        files.read(tmp_path / "x.pb", Kind.SCHEMA)


def test_a_versions_schema_goes_before_its_models(tmp_path: Path) -> None:
    version = tmp_path / "1"
    version.mkdir()
    assert files.schema_of(version) is None
    (tmp_path / "schema.pbtxt").write_text('feature { name: "model" }')
    assert files.schema_of(version).feature[0].name == "model"
    (version / "schema.pbtxt").write_text('feature { name: "version" }')
    assert files.schema_of(version).feature[0].name == "version"
    (version / "schema.pbtxt").write_text("feature {")
    with pytest.raises(FormatError, match=r"the version's schema\.pbtxt: line 1"):
        files.schema_of(version)


def test_a_message_of_very_many_is_looked_at_in_part() -> None:
    data = b"\x0a\x00" * 1_000_000
    since = time.thread_time()
    assert len(parse(data, Kind.STATISTICS, Form.BINARY).datasets) == 1_000_000
    assert time.thread_time() - since < 1
