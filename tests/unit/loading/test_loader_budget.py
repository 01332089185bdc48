"""Loads within their means: files, memory, samples; and nothing is left when they end."""

from __future__ import annotations

import ctypes
import gc
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import TensorProto

from serving.errors import LoadError
from serving.execution.files import file_bytes
from serving.loading.loader import Loader
from serving.model_config.schema import ModelConfig, SessionOptions
from serving.publishing import publish
from serving.registry.manifest import MANIFEST_NAME
from serving.settings import load_settings
from tests.unit import graphs
from tests.unit.graphs import FLOAT
from tests.unit.trims import trims_end

OFF = {"loading.trial": "off"}


@pytest.fixture
def load():
    """Load a version's folder; what a failing test leaves is closed."""
    slots, loaders = [], {}

    def load_one(place, config=None, **keys):
        settings, _ = load_settings({**OFF, **keys}, None, {})
        loader = loaders.setdefault(json.dumps(keys), Loader(settings))
        slots.append(
            loader(
                name="m", version=1, path=place, config=config or ModelConfig(), settings=settings
            )
        )
        return slots[-1]

    made: Any = load_one
    made.loaders = loaders
    yield made
    for slot in slots:
        slot.close(10)
    assert all(loader.held_bytes == 0 for loader in loaders.values())


def test_the_size_of_a_version_is_its_model_and_what_may_be_its_data(tmp_path):
    place = graphs.external("weights/w.bin", tmp_path, b"x" * 1000)
    model = (place / "model.onnx").stat().st_size
    assert file_bytes(place, "model.onnx") == model + 1000
    (place / "other.onnx").write_bytes(b"x" * 5000)
    (place / "input_example.json").write_bytes(b"x" * 5000)
    (place / "link.bin").symlink_to("/proc/kcore")
    assert file_bytes(place, "model.onnx") == model + 1000
    assert file_bytes(place, "absent.onnx") == 0


def test_a_version_beyond_its_budget_is_refused_unread(tmp_path, load):
    place = graphs.write(tmp_path, graphs.softmax())
    with (place / "weights.bin").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(LoadError, match=r"its files have 1\.1 TB, and it may take"):
        load(place)
    with pytest.raises(LoadError, match="and it may take 100 bytes"):
        load(place, ModelConfig(memory_bytes=100))


def test_the_total_holds_what_is_loaded_and_gets_it_back(tmp_path, load):
    place = graphs.write(tmp_path, graphs.softmax())
    size = file_bytes(place, "model.onnx")
    keys = {"loading.memory_bytes": size * 3 // 2}
    first = load(place, **keys)
    assert first.facts.memory_bytes == size
    with pytest.raises(LoadError, match="there is no room for its"):
        load(place, **keys)
    first.close(10)
    assert load(place, **keys).close(10)


def test_weights_that_are_mapped_count_as_what_a_version_takes(tmp_path, load):
    rows = 4_000_000  # of four bytes
    table = TensorProto(name="t", data_type=1, dims=[rows, 1], data_location=1)
    table.external_data.add(key="location", value="t.bin")
    gather = graphs.one(
        "Gather", [("i", graphs.INT64, ["n"])], [("y", FLOAT, ["n", 1])], {"t": table}, ["t", "i"]
    )
    place = graphs.write(tmp_path, gather)
    with (place / "t.bin").open("wb") as stream:
        stream.truncate(rows * 4)
    slot = load(place, **{"loading.trial": "on"})
    assert rows * 4 <= slot.facts.memory_bytes < rows * 8


def test_a_load_that_fails_holds_nothing(tmp_path, load):
    place = graphs.write(tmp_path, graphs.softmax())
    (place / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(LoadError, match="corrupt"):
        load(place)


def test_a_model_file_that_is_a_hard_link_is_loaded(tmp_path, load):
    """One of the ways to publish without a copy. (External data must be the model's own.)"""
    place = graphs.write(tmp_path, graphs.softmax())
    (place / "model.onnx").rename(tmp_path / "elsewhere")
    os.link(tmp_path / "elsewhere", place / "model.onnx")
    assert load(place).close(10)


def published(tmp_path, made, sample) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "registry").mkdir()
    (source / "model.onnx").write_bytes(made.SerializeToString())
    (source / "sample.json").write_text(json.dumps(sample))
    return publish(source, tmp_path / "registry", "m", samples=[source / "sample.json"]).path


def test_the_sample_of_a_manifest_must_run_and_be_finite(tmp_path, load):
    log = graphs.one("Log", [("x", FLOAT, ["n"])], [("y", FLOAT, ["n"])])
    place = published(tmp_path, log, {"x": [0.0]})
    with pytest.raises(LoadError, match=r"sample 'sample\.json' has finite input, but NaN"):
        load(place)


def test_a_sample_of_a_manifest_that_runs_is_the_versions_check(tmp_path, load):
    log = graphs.one("Log", [("x", FLOAT, ["n"])], [("y", FLOAT, ["n"])])
    assert load(published(tmp_path, log, {"x": [1.0, 2.0]})).facts.checked


def test_files_that_are_not_those_of_the_manifest_are_not_loaded(tmp_path, load):
    place = published(tmp_path, graphs.softmax(), {"x": [[1, 2, 3, 4]]})
    assert (place / MANIFEST_NAME).is_file()
    data = bytearray((place / "model.onnx").read_bytes())
    data[-1] ^= 1
    (place / "model.onnx").chmod(0o644)
    (place / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(LoadError, match=r"model\.onnx is corrupt"):
        load(place)


# Memory after unloads. On a smaller scale than in the years to come: the slope is what counts.

SWAPS, AT_FIRST, LEAKED_BYTES = 12, 4, 10_000_000


def heavy(number: int):
    weights = np.full((4, 2_500_000), number, np.float32)
    nodes = [graphs.node("MatMul", ["x", "w"], ["y"])]
    values = [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 2_500_000])]
    return graphs.model(nodes, *values, {"w": weights})


def swap(tmp_path, load, leak) -> list[int]:
    """Resident bytes after each of some swaps of a 40 MB model, new before old."""
    process, levels, old = psutil.Process(), [], None
    # A fixed threshold: glibc would raise it with each large block that it frees.
    ctypes.CDLL(None).mallopt(ctypes.c_int(-3), ctypes.c_int(128 * 1024))
    for number in range(SWAPS):
        place = graphs.write(tmp_path, heavy(number), version=number % 2 + 1)
        new = load(place, ModelConfig(max_batch_size=0, session=SessionOptions()))
        if old is not None:
            leak(old)
            assert old.close(10)
        old = new
        assert trims_end(30)
        gc.collect()
        levels.append(process.memory_info().rss)
    return levels


def grown(levels: list[int]) -> float:
    """How much larger the process is at the end than after the first swaps, in leaks of the
    control below: a share of the whole would depend on what else this process has run."""
    return (levels[-1] - levels[AT_FIRST]) / LEAKED_BYTES


@pytest.mark.slow
def test_fault_19_and_78_memory_is_flat_over_swaps(tmp_path, load):
    levels = swap(tmp_path, load, lambda slot: None)
    assert grown(levels) < 2, levels


@pytest.mark.slow
def test_a_leak_of_a_quarter_of_a_model_each_swap_would_show(tmp_path, load):
    """The control of the test above: it must be able to fail."""
    kept = []
    levels = swap(tmp_path, load, lambda slot: kept.append(bytearray(b"x" * LEAKED_BYTES)))
    assert grown(levels) > 4, levels
