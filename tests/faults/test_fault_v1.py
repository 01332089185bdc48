"""Faults 53 to 61 on TensorFlow Serving's paths, each with a witness."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.clients.gateway import Gateway
from tests.clients.tfs_rest import post, predict, refused
from tests.clients.witness import MIB, Witness
from tests.faults.test_fault_tensors import NUMBERS, STRINGS

# Numbers that TensorFlow Serving takes: beyond the largest is infinite.
TAKEN = {("FP32", "1e39")}
# Datatypes that it has no form for in JSON.
FORMLESS = {"UINT16"}


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_fault_58_values_are_never_wrapped_or_cast(tight: Gateway, key: str) -> None:
    with Witness(tight):
        for datatype, values in NUMBERS.items():
            for value in values:
                if datatype in FORMLESS or (datatype, value) in TAKEN:
                    continue
                body = f'{{"{key}":[[{value}]]}}'
                model = f"id_{datatype.lower()}"
                if (datatype, value) == ("BYTES", '{"b64": "AA=="}'):
                    # Bytes, as they are told here.
                    assert predict(tight, model, body) == [["\0"]]
                elif (datatype, value) == ("UINT8", "[]"):
                    # Another shape than the model's.
                    refused(tight, model, body, "shape")
                else:
                    refused(tight, model, body)


DEEP = {
    "rows": '{{"instances":{open}1{close}}}',
    "columns": '{{"inputs":{open}1{close}}}',
    "an ignored key": '{{"extra":{open}{close},"instances":[[1]]}}',
    "the signature's name": '{{"signature_name":{open}{close},"instances":[[1]]}}',
    "bare": "{open}{close}",
}


@pytest.mark.parametrize("depth", [101, 50_000, 250_000])
@pytest.mark.parametrize("case", DEEP)
def test_fault_59_deep_nesting(tight: Gateway, case: str, depth: int) -> None:
    with Witness(tight):
        refused(tight, "id_fp32", DEEP[case].format(open="[" * depth, close="]" * depth))
        count = max(depth // 2, 101)
        objects = DEEP[case].format(open='{"a":' * count, close="1" + "}" * count)
        refused(tight, "id_fp32", objects)


# Made where they are sent: every process that collects tests would make them.
LARGE: dict[str, Callable[[], str]] = {
    "keys": lambda: json.dumps({f"k{i}": 1 for i in range(60_000)}),
    "inputs": lambda: json.dumps({"inputs": {f"k{i}": 1 for i in range(60_000)}}),
    "keys of a row": lambda: json.dumps({"instances": [{f"k{i}": 1 for i in range(60_000)}]}),
    "the same key": lambda: '{"instances":[{' + ",".join(['"X":[1]'] * 100_000) + "}]}",
    "digits": lambda: '{"instances":[[' + "9" * 4000 + "]]}",
    "exponent": lambda: '{"instances":[[1e999999999999]]}',
    "a long name": lambda: json.dumps({"inputs": {"n" * 500_000: 1}}),
    "a long text": lambda: json.dumps({"inputs": ["n" * 500_000]}),
    "escapes": lambda: '{"' + "\\u0041" * 100_000 + '":1}',
    "base64 of nothing": lambda: '{"instances":[' + ",".join(['{"b64":""}'] * 80_000) + "]}",
    "rows that differ": lambda: '{"instances":[' + "[1]," * 200_000 + "[1,2]]}",
    "brackets only": lambda: "[" * 1_000_000,
    "commas only": lambda: '{"instances":[' + "," * 900_000 + "]}",
}


@pytest.mark.parametrize("what", LARGE)
def test_fault_59_large_texts_are_400_and_cheap(tight: Gateway, what: str) -> None:
    text, before = LARGE[what](), tight.cpu_seconds()
    with Witness(tight):
        assert len(refused(tight, "id_int64", text)) < 4000
    assert tight.cpu_seconds() - before < 2


BROKEN = {
    "ragged": '{"inputs":[[1,2],[3]]}',
    "ragged rows": '{"instances":[[1,2],[3]]}',
    "ragged depth": '{"inputs":[[1,2],3,4]}',
    "trailing garbage": '{"inputs":[[1]]}x',
    "a second document": '{"inputs":[[1]]}' * 2,
    "truncated": '{"inputs":[[1]]',
    "empty": "",
    "spaces": "   ",
    "trailing comma": '{"inputs":[[1,]]}',
    "comment": '/* */{"inputs":[[1]]}',
    "single quotes": "{'inputs':[[1]]}",
    "control character in a string": '{"inputs":{"X\x01":[[1]]}}',
    "lone surrogate": '{"inputs":[["\\ud800"]]}',
    "no key": "{:1}",
}


@pytest.mark.parametrize("case", BROKEN)
def test_fault_60_documents_that_are_broken(tight: Gateway, case: str) -> None:
    model = "id_bytes" if "surrogate" in case else "id_fp32"
    with Witness(tight):
        refused(tight, model, BROKEN[case])


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
def test_fault_60_bad_utf8(tight: Gateway, bad: bytes) -> None:
    for body in (
        b'{"inputs":[["' + bad + b'"]]}',
        b'{"instances":[{"X' + bad + b'":["a"]}]}',
        b'{"instances":[["a"]],"' + bad + b'":1}',
    ):
        refused(tight, "id_bytes", body)


def test_fault_56_strings_come_back_unaltered(gateway: Gateway) -> None:
    assert predict(gateway, "id_bytes", {"instances": [STRINGS]}) == [STRINGS]


def test_fault_55_string_counts_are_bounded(gateway: Gateway) -> None:
    with Witness(gateway, slack=64 * MIB):
        refused(gateway, "id_bytes", '{"inputs":[[' + '"",' * (1 << 20) + '""]]}', "1048576")


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "a%2fb", "a%5cb", "a%00b", "%252e%252e", "%ff", "n" * 256]
)
def test_fault_61_names_that_could_be_paths_lead_nowhere(tight: Gateway, name: str) -> None:
    with Witness(tight):
        answer = post(tight, name, {"instances": [[1]]})
        assert answer.status in {400, 404}, answer
        assert str(tight.repository) not in answer.body.decode()
        for path in (f"/v1/models/{name}", f"/v1/models/{name}/metadata"):
            assert tight.get(path).status in {400, 404}


def test_fault_102_an_answer_over_the_limit_is_413(tight: Gateway) -> None:
    """Of zeros, which take more room as text than in the request. Whatever was asked before, the
    first one leaves room behind that others use again."""
    body = '{"inputs":[[' + "0," * 400_000 + "0]]}"
    refused(tight, "id_fp32", body, "limits.max_message_bytes", status=413)
    with Witness(tight, slack=16 * MIB):
        for _ in range(3):
            refused(tight, "id_fp32", body, "limits.max_message_bytes", status=413)
