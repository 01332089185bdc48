"""External data of every kind, served: the version's own, whatever becomes of its files."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.processes import children_of
from tests.external_models import DATA, FILE, KINDS, lay, right
from tests.small_models import scale, write

X = np.abs(np.random.default_rng(2).normal(size=(3, 4))).astype(np.float32)
OTHER = np.arange(len(DATA) // 4, dtype=np.float32).tobytes()
GOOD = {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]}
NAMES = {kind: "".join(c if c.isalnum() else "_" for c in kind) for kind in KINDS}


def lay_all(repository: Path, kinds: Any = KINDS) -> None:
    for kind in kinds:
        lay(repository / NAMES[kind] / "1", kind)


def assert_right(gateway: Gateway, kinds: Any = KINDS) -> None:
    for kind in kinds:
        answer = gateway.infer(NAMES[kind], {"inputs": [oip.json_input("x", X)]})
        assert answer.status == 200, (kind, answer.body)
        (output,) = answer.json()["outputs"]
        got = np.array(output["data"], np.float32).reshape(output["shape"])
        np.testing.assert_allclose(got, right(X), rtol=1e-5, err_msg=kind)


def nothing_left(gateway: Gateway) -> bool:
    copies = gateway.folder / "state" / "copies"
    return copies.is_dir() and not any(copies.iterdir())


def test_fault_9_every_kind_is_served_and_files_changed_later_change_nothing(
    start_gateway: Any, repository: Path
) -> None:
    """Started in a version's folder, where onnxruntime would find files of these names."""
    lay_all(repository)
    decoy = lay(repository / "decoy" / "1", "initializer", data=OTHER)
    gateway = start_gateway(repository, cwd=decoy)
    assert_right(gateway)
    assert nothing_left(gateway)
    for spoil in (
        lambda file: file.write_bytes(OTHER),
        lambda file: os.truncate(file, 0),
        lambda file: file.unlink(),
    ):
        for name in NAMES.values():
            spoil(repository / name / "1" / FILE)
        assert_right(gateway)


def test_fault_8_what_is_not_the_versions_own_fails_it_alone_and_in_words(
    start_gateway: Any, repository: Path, tmp_path: Path
) -> None:
    write(repository, "good", scale(2))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / FILE).write_bytes(DATA)
    names = dict(list(NAMES.items())[3:12:2])
    for kind, name in names.items():
        lay(repository / f"{name}_up" / "1", kind, f"../../../outside/{FILE}", data=None)
        lay(repository / f"{name}_linked" / "1", kind, data=None)
        (repository / f"{name}_linked" / "1" / FILE).symlink_to(outside / FILE)
        lay(repository / f"{name}_lacks" / "1", kind, "cnn.onnx.data", data=None)
        (repository / f"{name}_lacks" / "1" / "model.onnx.data").write_bytes(DATA)
    gateway = start_gateway(repository, cwd=outside)
    index = gateway.index()
    for name in names.values():
        assert "outside the model's folder" in index[f"{name}_up", "1"]["reason"]
        assert "symbolic link" in index[f"{name}_linked", "1"]["reason"]
        assert index[f"{name}_lacks", "1"]["reason"].startswith(
            "it needs cnn.onnx.data beside model.onnx; there is model.onnx.data"
        )
    assert gateway.infer("good", GOOD).status == 200
    assert str(repository) not in str(index)


@pytest.mark.slow
def test_fault_9_children_come_back_with_what_was_loaded_first(
    start_gateway: Any, repository: Path
) -> None:
    kinds = ("initializer", "If in Loop")
    lay_all(repository, kinds)
    gateway = start_gateway(repository, {"isolation.mode": "process"})
    assert_right(gateway, kinds)
    before = children_of(gateway.process.pid)
    assert len(before) >= len(kinds)
    for kind in kinds:
        (repository / NAMES[kind] / "1" / FILE).write_bytes(OTHER)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: gateway.metric("serving_isolated_process_restart_total") >= len(kinds),
        60,
        "they are back",
    )
    assert_right(gateway, kinds)
    assert nothing_left(gateway)


@pytest.mark.slow
def test_one_tensor_over_2_gib_is_served_without_being_read_into_memory(
    start_gateway: Any, repository: Path
) -> None:
    """A table whose file is all holes but for its last row."""
    rows, columns = 300_000, 2048
    size = rows * columns * 4
    table = TensorProto(
        name="t", data_type=1, dims=[rows, columns], data_location=TensorProto.EXTERNAL
    )
    table.external_data.add(key="location", value="sub/table.bin")
    nodes = [
        helper.make_node("Gather", ["t", "ids"], ["rows"]),
        helper.make_node("ReduceMax", ["rows"], ["y"], axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [table],
    )
    opsets = [helper.make_opsetid("", 17)]
    place = repository / "table" / "1"
    (place / "sub").mkdir(parents=True)
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(made, place / "model.onnx")
    with (place / "sub" / "table.bin").open("wb") as file:
        file.truncate(size)
        file.seek(size - columns * 4)
        file.write(np.full(columns, 7, np.float32).tobytes())
    gateway = start_gateway(repository)

    def asked() -> list[float]:
        ids = np.array([0, rows - 1])
        answer = gateway.infer("table", {"inputs": [oip.json_input("ids", ids)]})
        assert answer.status == 200, answer.body
        return list(answer.json()["outputs"][0]["data"])

    assert asked() == [0, 7]
    assert gateway.rss() < 1 << 30
    assert gateway.metric("serving_models_memory_bytes") >= size  # what it may come to need
    assert nothing_left(gateway)
    (place / "sub" / "table.bin").unlink()
    assert asked() == [0, 7]
