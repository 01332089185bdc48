"""ONNX's own backend cases, those that the protocol can carry, over both doors.

The cases come with expected outputs; onnxruntime on its own says which of them it can run.
A fixed sample, weighted to what is rare, keeps the suite short: all of it runs with
``ALL_ONNX_CASES=1``.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.clients import oip
from tests.clients.gateway import Gateway
from tests.clients.triton import channel, stub
from tests.small_models import ELEMENT_TYPES, write

DATATYPES = {number: name for name, number in ELEMENT_TYPES.items()}
LEFT_OUT = ("training", "random", "bernoulli", "momentum", "adagrad", "adam", "dropout")
ORDINARY = 60
RARE_EACH = 12


Arrays = dict[str, np.ndarray]


@dataclass
class Case:
    name: str
    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    datatypes: dict[str, str]
    outputs: dict[str, str]
    rtol: float
    atol: float

    @property
    def traits(self) -> set[str]:
        """What makes a case rare."""
        arrays = [*self.feeds.values(), *self.expected.values()]
        found = {one for one in [*self.datatypes.values(), *self.outputs.values()] if one != "FP32"}
        if any(array.ndim == 0 for array in arrays):
            found.add("rank 0")
        if any(array.size == 0 for array in arrays):
            found.add("zero size")
        if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in arrays):
            found.add("not finite")
        if not self.feeds:
            found.add("no inputs")
        return found

    @property
    def jsonable(self) -> bool:
        return not {"FP16", "BF16"} & {*self.datatypes.values(), *self.outputs.values()}


def _datatype(value: onnx.ValueInfoProto) -> str | None:
    kind = value.type.WhichOneof("value")
    return DATATYPES.get(value.type.tensor_type.elem_type) if kind == "tensor_type" else None


def _array(value: object, datatype: str) -> np.ndarray:
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    array = np.asarray(value)
    if datatype == "BF16":
        return array.view(np.uint16) if array.dtype.itemsize == 2 else array
    if datatype == "BYTES":
        return array.astype(np.object_)
    return array


def _carried(case: Any) -> Case | None:
    """The case as tensors, or None when the protocol or onnxruntime cannot have it."""
    graph = case.model.graph
    if any(word in case.name for word in LEFT_OUT):
        return None
    inputs = {one.name: _datatype(one) for one in graph.input}
    outputs = {one.name: _datatype(one) for one in graph.output}
    if None in {*inputs.values(), *outputs.values()} or not case.data_sets:
        return None
    given, expected = case.data_sets[0]
    if any(isinstance(value, list) for value in [*given, *expected]):
        return None
    pairs = zip(inputs.items(), given, strict=False)
    feeds = {name: _array(value, kind) for (name, kind), value in pairs if value is not None}
    pairs = zip(outputs.items(), expected, strict=False)
    wanted = {name: _array(value, kind) for (name, kind), value in pairs if value is not None}
    datatypes = {name: kind for name, kind in inputs.items() if name in feeds}
    for name, array in [*feeds.items(), *wanted.items()]:
        kind = inputs.get(name) or outputs[name]
        if array.dtype != np.dtype(oip.DTYPES[str(kind)]):
            return None
    return Case(case.name, case.model, feeds, wanted, datatypes, outputs, case.rtol, case.atol)


def _value(array: np.ndarray, case: Case, name: str) -> onnxruntime.OrtValue:
    # BF16 has no numpy dtype: its bits go in as uint16, its outputs cannot come out as arrays.
    make = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type
    return make(array, ELEMENT_TYPES[case.datatypes[name]])


def _runs_alone(case: Case) -> bool:
    """Whether onnxruntime on its own gives the expected outputs."""
    try:
        session = onnxruntime.InferenceSession(case.model.SerializeToString())
        if "BF16" in {*case.datatypes.values(), *case.outputs.values()}:
            session.run_with_ort_values(
                None, {k: _value(v, case, k) for k, v in case.feeds.items()}
            )
            return True
        found = session.run(list(case.expected), case.feeds)
        for value, (name, expected) in zip(found, case.expected.items(), strict=True):
            _same(value, expected, case, name)
    except Exception:  # noqa: BLE001 - onnxruntime raises many kinds; all mean that it cannot
        return False
    return True


def _same(found: np.ndarray, expected: np.ndarray, case: Case, name: str) -> None:
    assert found.shape == expected.shape, (case.name, found.shape, expected.shape)
    if case.outputs[name] == "BF16":
        found, expected = (
            (one.astype(np.uint32) << 16).view(np.float32) for one in (found, expected)
        )
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, case.rtol, case.atol, err_msg=case.name)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=case.name)


def _sample(cases: list[Case]) -> list[Case]:
    """For each rare trait a few cases, spread evenly, and some ordinary ones."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        for trait in case.traits or {"ordinary"}:
            groups.setdefault(trait, []).append(case)
    chosen: dict[str, Case] = {}
    for trait, members in sorted(groups.items()):
        count = ORDINARY if trait == "ordinary" else RARE_EACH
        step = max(1, len(members) // count)
        chosen |= {case.name: case for case in members[::step][:count]}
    return list(chosen.values())


SlotFacts = list[tuple[Gateway, list[Case]]]
Ask = Callable[[Gateway, Any, Case], Arrays]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [one for case in load_model_tests(kind="node") if (one := _carried(case))]
    if os.environ.get("ALL_ONNX_CASES") != "1":
        found = _sample(found)
    onnxruntime.set_default_logger_severity(4)
    chosen = [case for case in found if _runs_alone(case)]
    onnxruntime.set_default_logger_severity(2)
    assert len(chosen) > 150
    covered = set().union(*(case.traits for case in chosen))
    assert covered >= {"rank 0", "zero size", "not finite", "no inputs", *ELEMENT_TYPES} - {"FP32"}
    return chosen


@pytest.fixture(scope="module")
def served(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlotFacts]:
    """Gateways of up to 300 models, so that none gets too large."""
    gateways = []
    try:
        for start in range(0, len(cases), 300):
            some = cases[start : start + 300]
            folder = tmp_path_factory.mktemp("onnx")
            (folder / "repository").mkdir()
            for case in some:
                write(folder / "repository", case.name, case.model)
            gateway = Gateway(folder / "repository", folder / "gateway")
            gateways.append((gateway, some))
            gateway.wait_ready(180)
        yield gateways
    finally:
        for gateway, _ in gateways:
            gateway.finish()


def test_every_case_is_served(served: SlotFacts) -> None:
    for gateway, some in served:
        index = gateway.index()
        failed = {
            case.name: index.get((case.name, "1"))
            for case in some
            if index.get((case.name, "1"), {}).get("state") != "READY"
        }
        assert not failed


def _differences(served: SlotFacts, ask: Ask) -> dict[str, str]:
    """Case -> what was wrong with its answer."""
    wrong: dict[str, str] = {}
    for gateway, some in served:
        with channel(gateway) as one:
            for case in some:
                try:
                    found = ask(gateway, stub(one), case)
                    for name, expected in case.expected.items():
                        _same(found[name], expected, case, name)
                except Exception as error:  # noqa: BLE001 - report every case, not the first
                    wrong[case.name] = str(error)[:400]
    return wrong


def test_every_case_is_right_over_grpc(served: SlotFacts) -> None:
    def ask(_: Gateway, rpc: Any, case: Case) -> Arrays:
        request = oip.grpc_request(case.name, case.feeds, datatypes=case.datatypes)
        return oip.grpc_arrays(rpc.ModelInfer(request, timeout=20))

    assert not _differences(served, ask)


def test_every_case_is_right_over_binary_http(served: SlotFacts) -> None:
    def ask(gateway: Gateway, _: Any, case: Case) -> Arrays:
        body, headers = oip.binary_body(case.feeds, case.datatypes)
        answer = gateway.get(f"/v2/models/{case.name}/infer", body, "POST", headers)
        assert answer.status == 200, answer
        return oip.binary_arrays(answer.body, answer.headers)

    assert not _differences(served, ask)


def test_every_case_is_right_over_json(served: SlotFacts) -> None:
    def ask(gateway: Gateway, _: Any, case: Case) -> Arrays:
        if not case.jsonable:
            return case.expected
        inputs = [oip.json_input(k, v, case.datatypes[k]) for k, v in case.feeds.items()]
        answer = gateway.infer(case.name, {"inputs": inputs})
        assert answer.status == 200, answer
        return oip.json_arrays(json.loads(answer.body))

    assert not _differences(served, ask)
