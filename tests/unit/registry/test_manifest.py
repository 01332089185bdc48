"""A manifest is read strictly, whatever somebody wrote there."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import Retry
from serving.registry import manifest as module
from serving.registry.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    ManifestError,
    parse_manifest,
    read_manifest,
    verify,
)

ZERO = "0" * 64
GOOD: dict[str, Any] = {
    "format": 1,
    "model": "m",
    "version": 3,
    "created": "2026-01-01T00:00:00Z",
    "files": {
        "model.onnx": {"size": 5, "sha256": ZERO},
        "samples/a.npz": {"size": 0, "sha256": ZERO},
    },
    "trained_by": {"git_commit": "abcdef1", "mlflow_run_id": "r", "mlflow_model_id": "m-1"},
    "metadata": {"who": "me"},
    "metrics": {"accuracy": 0.5, "count": 3},
    "samples": ["samples/a.npz"],
}


def parse(**changed: Any) -> Manifest:
    return parse_manifest(json.dumps({**GOOD, **changed}).encode())


def test_a_manifest_says_what_was_written() -> None:
    found = parse()
    assert (found.model, found.version, found.created) == ("m", 3, "2026-01-01T00:00:00Z")
    assert found.files["model.onnx"] == FileEntry(5, ZERO)
    assert (found.git_commit, found.run_id, found.model_id) == ("abcdef1", "r", "m-1")
    assert found.metadata == {"who": "me"}
    assert found.metrics == {"accuracy": 0.5, "count": 3.0}
    assert found.samples == ("samples/a.npz",)


@pytest.mark.parametrize("key", ["format", "model", "version", "created", "files"])
def test_what_must_be_there_must_be_there(key: str) -> None:
    document = {k: v for k, v in GOOD.items() if k != key}
    with pytest.raises(ManifestError):
        parse_manifest(json.dumps(document).encode())


FILE = {"size": 0, "sha256": ZERO}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"format": 2}, "format 1"),
        ({"format": True}, "format 1"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"model": "../m"}, "no model's name"),
        ({"model": ".m"}, "no model's name"),
        ({"version": 0}, "'version' of its manifest is less than 1"),
        ({"version": 2**63}, "more than 9223372036854775807"),
        ({"version": "3"}, "no integer"),
        ({"version": True}, "no integer"),
        ({"created": 5}, "no text"),
        ({"files": {}}, "lists no file"),
        ({"files": []}, "not an object"),
        ({"files": {"../model.onnx": FILE}}, "not a path below"),
        ({"files": {"/etc/passwd": FILE}}, "not a path below"),
        ({"files": {"a//b": FILE}}, "not a path below"),
        ({"files": {"./a": FILE}}, "not a path below"),
        ({"files": {"a\\b": FILE}}, "not a path below"),
        ({"files": {"a\x00b": FILE}}, "not printable"),
        ({"files": {"a/b/c/d/e": FILE}}, "folders deep"),
        ({"files": {MANIFEST_NAME: FILE}}, "lists itself"),
        (
            {"files": {"a": {"size": -1, "sha256": ZERO}}},
            "'files.a.size' .* is less than 0",
        ),
        ({"files": {"a": {"size": 1.5, "sha256": ZERO}}}, "no integer"),
        ({"files": {"a": {"size": 1, "sha256": "0" * 63}}}, "64 hexadecimal"),
        ({"files": {"a": {"size": 1, "sha256": "g" * 64}}}, "64 hexadecimal"),
        ({"files": {"a": {"size": 1, "sha256": ZERO, "mode": 4}}}, "unknown key"),
        ({"files": {"a": 5}}, "not an object"),
        ({"trained_by": {"somebody": "x"}}, "unknown key"),
        ({"metadata": {"a": 1}}, "no text"),
        ({"metadata": {"a": "x" * 5000}}, "too long"),
        ({"metadata": {str(n): "" for n in range(1001)}}, "more than 1000"),
        ({"metrics": {"a": "1"}}, "no number"),
        ({"metrics": {"a": True}}, "no number"),
        ({"metrics": {"a": 10**400}}, "too large"),
        ({"samples": ["other.npz"]}, "does not list"),
        ({"evaluation": "other.csv"}, "'evaluation' of its manifest names a file that it does not"),
        ({"evaluation": "../e.csv"}, "does not list"),
        ({"evaluation": 5}, "no text"),
        ({"samples": [5]}, "no text"),
        ({"samples": ["a"] * 101}, "more than 100"),
        ({"samples": "a"}, "no list"),
    ],
)
def test_what_is_wrong_is_refused_in_words(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        parse(**changed)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"format": 1, "format": 1}',
        b'{"format": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
    ],
)
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "other"]), ANYTHING, max_size=4), st.booleans())
def test_hostile_json_is_read_right_or_refused_and_never_anything_else(
    changes: dict[str, Any], nested: bool
) -> None:
    document = {**GOOD, **({} if nested else changes)}
    if nested:
        document["files"] = {**GOOD["files"], "x": changes}
    try:
        found = parse_manifest(json.dumps(document).encode())
    except ManifestError:
        return
    assert all(".." not in name.split("/") and name[0] != "/" for name in found.files)
    assert all(math.isfinite(number) for number in found.metrics.values())
    assert set(found.samples) <= set(found.files)
    assert parse_manifest(found.to_json().encode()) == found


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 400))
def test_bytes_torn_out_and_put_in_are_refused_or_read(
    junk: bytes, start: int, length: int
) -> None:
    text = json.dumps(GOOD).encode()
    try:
        parse_manifest(text[:start] + junk + text[start + length :])
    except ManifestError:
        return


def test_a_folder_without_one_has_none_and_a_large_or_odd_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_manifest(tmp_path) is None
    file = tmp_path / MANIFEST_NAME
    os.mkfifo(file)
    with pytest.raises(ManifestError, match="not a regular file"):
        read_manifest(tmp_path)
    file.unlink()
    file.write_text(json.dumps(GOOD))
    assert read_manifest(tmp_path) == parse()
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(ManifestError, match="more than 100 bytes"):
        read_manifest(tmp_path)


def listed(**files: bytes) -> Manifest:
    import hashlib

    entries = {n: FileEntry(len(d), hashlib.sha256(d).hexdigest()) for n, d in files.items()}
    return Manifest("m", 1, "now", entries)


def test_verify_names_the_file_that_is_not_as_listed(tmp_path: Path) -> None:
    found = listed(a=b"one", b=b"two")
    (tmp_path / "a").write_bytes(b"one")
    with pytest.raises(ManifestError, match=r"^b, which its manifest lists, does not exist$"):
        verify(tmp_path, found)
    (tmp_path / "b").write_bytes(b"twoo")
    with pytest.raises(ManifestError, match=r"^b has 4 bytes, and its manifest lists 3$"):
        verify(tmp_path, found)
    (tmp_path / "b").write_bytes(b"twx")
    with pytest.raises(ManifestError, match=r"^b is corrupt"):
        verify(tmp_path, found)
    (tmp_path / "b").write_bytes(b"two")
    verify(tmp_path, found)


def test_a_file_that_the_disk_refuses_is_told_from_one_that_is_wrong(tmp_path: Path) -> None:
    """The one may pass, so the load is tried again; the other needs other files."""
    (tmp_path / "a").mkdir()
    with pytest.raises(ManifestError) as refused:
        verify(tmp_path, listed(a=b"one"))
    assert refused.value.retry is Retry.LATER
    (tmp_path / "a").rmdir()
    (tmp_path / "a").write_bytes(b"two")
    with pytest.raises(ManifestError, match="corrupt") as wrong:
        verify(tmp_path, listed(a=b"one"))
    assert wrong.value.retry is Retry.NEVER


def test_fault_8_verify_reads_no_file_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"one")
    folder = tmp_path / "v"
    folder.mkdir()
    (folder / "a").symlink_to("../outside")
    with pytest.raises(ManifestError, match="leaves the version's folder"):
        verify(folder, listed(a=b"one"))
    (folder / "a").unlink()
    os.mkfifo(folder / "a")
    with pytest.raises(ManifestError, match="not a regular file"):
        verify(folder, listed(a=b"one"))
