"""Faults 50 to 60: tensors and JSON that cannot be, each with a witness."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.clients import oip
from tests.clients.gateway import Gateway, HttpAnswer
from tests.clients.triton import channel, refusal, stub
from tests.clients.witness import MIB, Witness

ROW = np.zeros((1, 4), np.float32)


def _rejected(gateway: Gateway, request: pb.ModelInferRequest, *words: str) -> str:
    with channel(gateway) as one:
        error = refusal(stub(one).ModelInfer, request)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    for word in words:
        assert word in error.details(), error.details()
    return str(error.details())


def _post(gateway: Gateway, model: str, text: str | bytes) -> HttpAnswer:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return gateway.get(f"/v2/models/{model}/infer", data, "POST")


def _refused(gateway: Gateway, model: str, text: str | bytes, *words: str) -> str:
    answer = _post(gateway, model, text)
    assert answer.status == 400, answer
    error = answer.json()["error"]
    for word in words:
        assert word in error, error
    return str(error)


def _input(
    shape: object, data: str | Sequence[object] = (), datatype: str = "FP32", name: str = "X"
) -> str:
    """One input as JSON text; ``data`` may be ready-made text."""
    values = data if isinstance(data, str) else json.dumps(data)
    shown = shape if isinstance(shape, str) else json.dumps(shape)
    return (
        f'{{"inputs":[{{"name":"{name}","shape":{shown},'
        f'"datatype":"{datatype}","data":{values}}}]}}'
    )


OVERFLOWS = [
    [2**32, 2**32],
    [2**62, 4],
    [2**63 - 1, 2],
    [2**61, 1],
    [0, 2**62, 2**62],
    [1 << 31] * 3,
    [1 << 40, 1],
]


@pytest.mark.parametrize("shape", OVERFLOWS)
def test_fault_50_shape_overflows_are_refused_before_any_allocation(
    tight: Gateway, shape: list[int]
) -> None:
    with Witness(tight, slack=8 * MIB):
        request = oip.grpc_request("id_fp64", {"X": np.zeros((1, 1))})
        request.inputs[0].shape[:] = shape
        _rejected(tight, request, "X")
        request = oip.grpc_request("id_fp64", {"X": np.zeros((1, 1))}, typed=True)
        request.inputs[0].shape[:] = shape
        _rejected(tight, request, "X")
        _refused(tight, "id_fp64", _input(shape, [1], "FP64"), "X")
        body, headers = oip.binary_body({"X": np.zeros((1, 1))})
        data = body.replace(b"[1, 1]", json.dumps(shape).encode())
        headers["Inference-Header-Content-Length"] = str(len(data) - 8)
        answer = tight.get("/v2/models/id_fp64/infer", data, "POST", headers)
        assert answer.status == 400, answer


@pytest.mark.parametrize(
    "shape",
    [
        "[9223372036854775808, 1]",
        "[99999999999999999999999, 1]",
        "[-9223372036854775809, 1]",
        "[1e2, 1]",
    ],
)
def test_fault_50_dimensions_beyond_int64(tight: Gateway, shape: str) -> None:
    with Witness(tight):
        _refused(tight, "id_fp32", _input(shape, [1]))


@pytest.mark.parametrize(
    "shape",
    [
        "[-1, 1]",
        "[1, -1]",
        "[1.0, 1]",
        "[1.5, 1]",
        '["1", 1]',
        "[null]",
        "[[1, 1]]",
        "{}",
        "1",
        '"1"',
        "[true, 1]",
        "null",
    ],
)
def test_fault_51_dimensions_that_are_none(tight: Gateway, shape: str) -> None:
    with Witness(tight):
        _refused(tight, "id_fp32", _input(shape, [1]))


def test_fault_51_negative_dimensions_over_grpc(tight: Gateway) -> None:
    for shape in ([-1, 4], [-(2**63), 4], [1, -4], [-1, -4]):
        request = oip.grpc_request("tiny", {"x": ROW})
        request.inputs[0].shape[:] = shape
        _rejected(tight, request, "'x'")


@pytest.mark.parametrize("rank", [65, 10_000])
def test_fault_51_thousands_of_dimensions(tight: Gateway, rank: int) -> None:
    with Witness(tight):
        request = oip.grpc_request("tiny", {"x": ROW})
        request.inputs[0].shape[:] = [1] * rank
        assert len(_rejected(tight, request, "'x'")) < 2000
        assert len(_refused(tight, "id_fp32", _input([1] * rank, [1]))) < 2000


@pytest.mark.parametrize("count", [0, 1, 15, 17, 160])
def test_fault_52_wrong_raw_length(tight: Gateway, count: int) -> None:
    request = oip.grpc_request("tiny", {"x": ROW})
    request.raw_input_contents[0] = b"\0" * count
    with Witness(tight):
        text = _rejected(tight, request, "'x'", "16", str(count))
        assert "byte size" in text or "bytes" in text


def test_fault_52_wrong_number_of_raw_entries(tight: Gateway) -> None:
    request = oip.grpc_request("add_sub", {f"INPUT{i}": ROW.astype(np.int32) for i in (0, 1)})
    request.raw_input_contents.append(b"\0" * 16)
    _rejected(tight, request)
    del request.raw_input_contents[1:]
    _rejected(tight, request, "INPUT1")
    request = oip.grpc_request("tiny", {"x": ROW})
    del request.raw_input_contents[:]
    _rejected(tight, request, "'x'")


def test_fault_52_contents_and_raw_together(tight: Gateway) -> None:
    request = oip.grpc_request("tiny", {"x": ROW})
    request.inputs[0].contents.fp32_contents.extend([0] * 4)
    phrase = "contents field must not be specified when using raw_input_contents"
    _rejected(tight, request, f"{phrase} for 'x' for model 'tiny'")


def test_fault_52_wrong_typed_field_or_count(tight: Gateway) -> None:
    for field, values in [
        ("fp64_contents", [0.0] * 4),
        ("int_contents", [0] * 4),
        ("bytes_contents", [b"x"] * 4),
    ]:
        request = oip.grpc_request("tiny", {"x": ROW})
        del request.raw_input_contents[:]
        getattr(request.inputs[0].contents, field).extend(values)
        _rejected(tight, request, "'x'")
    request = oip.grpc_request("tiny", {"x": ROW}, typed=True)
    request.inputs[0].contents.fp64_contents.append(1)
    _rejected(tight, request, "'x'")
    request = oip.grpc_request("tiny", {"x": ROW}, typed=True)
    request.inputs[0].contents.fp32_contents.append(1)
    _rejected(tight, request, "'x'", "4", "5")


def test_fault_53_duplicates_missing_unknown(tight: Gateway) -> None:
    with Witness(tight):
        request = oip.grpc_request("tiny", {"x": ROW})
        request.inputs.append(request.inputs[0])
        request.raw_input_contents.append(request.raw_input_contents[0])
        _rejected(tight, request, "'x'")
        request = oip.grpc_request("tiny", {"x": ROW}, outputs=["y", "y"])
        _rejected(tight, request, "'y'")
        _rejected(tight, oip.grpc_request("tiny", {}), "x")
        _rejected(tight, oip.grpc_request("tiny", {"": ROW}))
        one = oip.json_input("x", ROW)
        for body, word in [
            ({"inputs": [one, one]}, "'x'"),
            ({"inputs": []}, "x"),
            ({"inputs": [{**one, "name": "z"}]}, "z"),
            ({"inputs": [one], "outputs": [{"name": "y"}, {"name": "y"}]}, "'y'"),
            ({"inputs": [one], "outputs": [{"name": "q"}]}, "'q'"),
            ({"inputs": [one], "outputs": [{}]}, ""),
            ({"outputs": []}, "inputs"),
            ({"inputs": [{k: v for k, v in one.items() if k != "name"}]}, "name"),
            ({"inputs": [{k: v for k, v in one.items() if k != "shape"}]}, "shape"),
            ({"inputs": [{k: v for k, v in one.items() if k != "datatype"}]}, "datatype"),
            ({"inputs": [{k: v for k, v in one.items() if k != "data"}]}, "x"),
        ]:
            _refused(tight, "tiny", json.dumps(body), word)


def test_fault_53_thousands_of_inputs_and_outputs(tight: Gateway) -> None:
    with Witness(tight):
        one = {"name": "x", "shape": [0], "datatype": "FP32", "data": []}
        body = {"inputs": [{**one, "name": f"x{i}"} for i in range(5000)]}
        assert len(_refused(tight, "tiny", json.dumps(body))) < 4000
        request = oip.grpc_request("tiny", {"x": ROW}, outputs=[f"y{i}" for i in range(10_000)])
        assert len(_rejected(tight, request)) < 4000


@pytest.mark.parametrize(
    "datatype", ["FP64", "INT32", "BYTES", "FP33", "", "fp32", "FLOAT", "TYPE_FP32"]
)
def test_fault_54_datatypes_that_differ_or_do_not_exist(tight: Gateway, datatype: str) -> None:
    request = oip.grpc_request("tiny", {"x": ROW})
    request.inputs[0].datatype = datatype
    _rejected(tight, request, "x")
    _refused(tight, "tiny", _input([1, 4], [0] * 4, datatype, "x"), "x")


def _strings(*lengths_and_bytes: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<I", length) + data for length, data in lengths_and_bytes)


BYTES = {
    "length past the end": (_strings((9, b"abc")), 1),
    "length of 0xFFFFFFFF": (_strings((0xFFFFFFFF, b"abc")), 1),
    "too few": (_strings((1, b"a")), 2),
    "too many": (_strings((1, b"a"), (1, b"b")), 1),
    "half a length": (_strings((1, b"a")) + b"\x01\x00", 2),
    "nothing": (b"", 1),
    "2^17 empties for one": (b"\0\0\0\0" * (1 << 17), 1),
}


@pytest.mark.parametrize("case", BYTES)
def test_fault_55_bytes_tensors_that_do_not_add_up(tight: Gateway, case: str) -> None:
    raw, count = BYTES[case]
    with Witness(tight):
        request = oip.grpc_request("id_bytes", {"X": np.array([["a"] * count], object)})
        request.raw_input_contents[0] = raw
        _rejected(tight, request, "'X'")
        body, headers = oip.binary_body({"X": np.array([["a"] * count], object)})
        head = json.loads(body[: int(headers["Inference-Header-Content-Length"])])
        head["inputs"][0]["parameters"]["binary_data_size"] = len(raw)
        text = json.dumps(head).encode()
        headers["Inference-Header-Content-Length"] = str(len(text))
        answer = tight.get("/v2/models/id_bytes/infer", text + raw, "POST", headers)
        assert answer.status == 400, answer
        assert "X" in answer.json()["error"]


def test_fault_55_string_counts_are_bounded(gateway: Gateway) -> None:
    """2^20 empty strings come back; one more is over the documented bound, named in the error."""

    def request(count: int) -> pb.ModelInferRequest:
        message = pb.ModelInferRequest(model_name="id_bytes")
        message.inputs.add(name="X", datatype="BYTES", shape=[1, count])
        message.raw_input_contents.append(b"\0\0\0\0" * count)
        return message

    with Witness(gateway, slack=256 * MIB), channel(gateway) as one:
        response = stub(one).ModelInfer(request(1 << 20), timeout=30)
        assert response.raw_output_contents[0] == b"\0\0\0\0" * (1 << 20)
    _rejected(gateway, request((1 << 20) + 1), "1048576")


@pytest.mark.parametrize(
    "value", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"ok\xf0\x9f", b"\xc0\xaf"]
)
def test_fault_56_bytes_that_are_no_utf8_are_refused(tight: Gateway, value: bytes) -> None:
    x = np.empty((1, 1), object)
    x[0, 0] = value
    _rejected(tight, oip.grpc_request("id_bytes", {"X": x}), "'X'")
    request = oip.grpc_request("id_bytes", {"X": x}, typed=True)
    _rejected(tight, request, "'X'")
    body, headers = oip.binary_body({"X": x})
    assert tight.get("/v2/models/id_bytes/infer", body, "POST", headers).status == 400


STRINGS = [
    "",
    "\0",
    "a\0",
    "\0a\0\0",
    "é",
    "e\u0301",
    "漢字",
    "🎈",
    "\u202e",
    "\ufeff",
    "'b'",
    "\x7f",
    "\\u0041",
]


def test_fault_56_strings_come_back_unaltered(gateway: Gateway) -> None:
    """Trailing NULs, combining marks and byte-order marks included (fact C5)."""
    x = np.array([STRINGS], object)
    with channel(gateway) as one:
        for typed in (False, True):
            request = oip.grpc_request("id_bytes", {"X": x}, typed=typed)
            found = oip.grpc_arrays(stub(one).ModelInfer(request, timeout=10))["Y"]
            assert found[0].tolist() == STRINGS
    answer = gateway.infer("id_bytes", {"inputs": [oip.json_input("X", x)]})
    assert answer.json()["outputs"][0]["data"] == STRINGS


@pytest.mark.parametrize("value", [2, 127, 128, 255])
def test_fault_57_bool_bytes_other_than_0_and_1_are_refused(tight: Gateway, value: int) -> None:
    """Wherever in the tensor they are, on both doors."""
    x = np.zeros((1, 5000), np.bool_)
    for place in (0, 4999):
        raw = bytearray(5000)
        raw[place] = value
        request = oip.grpc_request("id_bool", {"X": x})
        request.raw_input_contents[0] = bytes(raw)
        _rejected(tight, request, f"element {place}", "'X'", str(value))
        body, headers = oip.binary_body({"X": x})
        answer = tight.get("/v2/models/id_bool/infer", body[:-5000] + raw, "POST", headers)
        assert answer.status == 400, answer
        assert f"element {place}" in answer.json()["error"]


NUMBERS = {
    "UINT8": [
        "256",
        "-1",
        "1.5",
        "1.0",
        "true",
        "null",
        '"1"',
        "NaN",
        "1e2",
        "99999999999999999999",
        "[]",
        "{}",
    ],
    "INT8": ["128", "-129"],
    "INT16": ["32768"],
    "UINT16": ["65536"],
    "INT32": ["2147483648", "-2147483649", "Infinity"],
    "UINT32": ["4294967296"],
    "INT64": ["9223372036854775808", "-9223372036854775809"],
    "UINT64": ["18446744073709551616", "-1"],
    "FP32": [
        "1e39",
        "-1e400",
        "true",
        "null",
        '"1"',
        '"NaN"',
        "nan",
        "+1",
        "01",
        "1.",
        ".5",
        "0x1",
        "1e",
        "--1",
        "- 1",
        "-NaN",
    ],
    "FP64": ["1e400", "false"],
    "BOOL": ["0", "1", "null", '"true"', "True", "1.0"],
    "BYTES": ["1", "null", "true", '{"b64": "AA=="}'],
}


@pytest.mark.parametrize(
    ("datatype", "value"), [(k, v) for k, values in NUMBERS.items() for v in values]
)
def test_fault_58_values_are_never_wrapped_or_cast(
    tight: Gateway, datatype: str, value: str
) -> None:
    _refused(tight, f"id_{datatype.lower()}", _input([1, 1], f"[{value}]", datatype))


@pytest.mark.parametrize(
    ("datatype", "value"), [("INT8", 128), ("UINT8", 256), ("INT16", -32769), ("UINT16", 65536)]
)
def test_fault_58_narrow_integers_in_typed_contents(
    tight: Gateway, datatype: str, value: int
) -> None:
    request = pb.ModelInferRequest(model_name=f"id_{datatype.lower()}")
    tensor = request.inputs.add(name="X", datatype=datatype, shape=[1, 1])
    getattr(tensor.contents, oip.CONTENTS[datatype]).append(value)
    _rejected(tight, request, "'X'", str(value))


DEEP = {
    "nested data": '{{"inputs":[{{"name":"X","shape":[1,1],"datatype":"FP32",'
    '"data":{open}1{close}}}]}}',
    "nested in an ignored key": '{{"extra":{open}{close},"inputs":[]}}',
    "nested parameters": '{{"parameters":{{"a":{open}{close}}},"inputs":[]}}',
    "bare": "{open}{close}",
}


@pytest.mark.parametrize("depth", [101, 50_000, 250_000])
@pytest.mark.parametrize("case", DEEP)
def test_fault_59_deep_nesting(tight: Gateway, case: str, depth: int) -> None:
    with Witness(tight):
        _refused(tight, "id_fp32", DEEP[case].format(open="[" * depth, close="]" * depth))
        objects = DEEP[case].format(open='{"a":' * (depth // 2), close="1" + "}" * (depth // 2))
        _refused(tight, "id_fp32", objects)


# Made where they are sent: every process that collects tests would make them.
LARGE: dict[str, Callable[[], str]] = {
    "keys": lambda: json.dumps({f"k{i}": 1 for i in range(60_000)}),
    "the same key": lambda: '{"inputs":[],' * 1 + ",".join(['"a":1'] * 150_000) + "}",
    "digits": lambda: _input([1, 1], "[" + "9" * 4000 + "]", "INT64"),
    "digits of a float": lambda: _input([1, 1], "[1" + "0" * 4000 + "]"),
    "exponent": lambda: _input([1, 1], "[1e999999999999]"),
    "shape digits": lambda: _input("[" + "9" * 4000 + "]", [1]),
    "a long name": lambda: json.dumps({"inputs": [{"name": "n" * 500_000}]}),
    "escapes": lambda: '{"inputs":[],"' + "\\u0041" * 100_000 + '":',
    "brackets only": lambda: "[" * 1_000_000,
    "commas only": lambda: "[" + "," * 1_000_000 + "]",
}


@pytest.mark.parametrize("what", LARGE)
def test_fault_59_large_texts_are_400_and_cheap(tight: Gateway, what: str) -> None:
    text, before = LARGE[what](), tight.cpu_seconds()
    with Witness(tight):
        assert len(_refused(tight, "id_int64", text)) < 4000
    assert tight.cpu_seconds() - before < 2


MANY_KEYS: dict[str, Callable[[], object]] = {
    "keys": lambda: {f"k{i}": 1 for i in range(200_000)},
    "parameters": lambda: {"inputs": [], "parameters": {f"k{i}": [i] for i in range(200_000)}},
}


@pytest.mark.parametrize("where", MANY_KEYS)
def test_fault_59_two_hundred_thousand_keys_under_the_usual_limit(
    gateway: Gateway, where: str
) -> None:
    text, before = json.dumps(MANY_KEYS[where]()), gateway.cpu_seconds()
    with Witness(gateway):
        assert len(_refused(gateway, "id_fp32", text)) < 4000
    assert gateway.cpu_seconds() - before < 2


BROKEN = {
    "ragged": _input([2, 2], "[[1,2],[3]]"),
    "ragged depth": _input([2, 2], "[[1,2],3,4]"),
    "too few": _input([2, 2], [1, 2, 3]),
    "too many": _input([2, 2], [1] * 5),
    "data for a zero-size shape": _input([0, 2], [1]),
    "data is no array": _input([1, 1], "1"),
    "trailing garbage": _input([1, 1], [1]) + "x",
    "a second document": _input([1, 1], [1]) * 2,
    "truncated": _input([1, 1], [1])[:-3],
    "empty": "",
    "spaces": "   ",
    "trailing comma": _input([1, 1], "[1,]"),
    "comment": "/* */" + _input([1, 1], [1]),
    "single quotes": _input([1, 1], [1]).replace('"', "'"),
    "control character in a string": _input([1, 1], [1]).replace("X", "X\x01"),
    "lone surrogate": _input([1, 1], '["\\ud800"]', "BYTES"),
    "id of another type": _input([1, 1], [1])[:-1] + ',"id":7}',
    "parameters of another type": _input([1, 1], [1])[:-1] + ',"parameters":[]}',
    "nested parameter": _input([1, 1], [1])[:-1] + ',"parameters":{"a":{}}}',
    "outputs of another type": _input([1, 1], [1])[:-1] + ',"outputs":{}}',
}


@pytest.mark.parametrize("case", BROKEN)
def test_fault_60_documents_that_are_broken(tight: Gateway, case: str) -> None:
    model = "id_bytes" if "surrogate" in case else "id_fp32"
    _refused(tight, model, BROKEN[case])


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
def test_fault_60_bad_utf8(tight: Gateway, bad: bytes) -> None:
    text = _input([1, 1], '["@"]', "BYTES").encode()
    _refused(tight, "id_bytes", text.replace(b"@", bad))
    _refused(tight, "id_bytes", text.replace(b'"name":"X"', b'"name":"X' + bad + b'"'))
    _refused(tight, "id_bytes", text[:-1] + b',"' + bad + b'":1}')


@pytest.mark.parametrize("start", ["\ufeff", " \n\t\r "])
def test_white_space_and_a_byte_order_mark_are_skipped(tight: Gateway, start: str) -> None:
    answer = _post(tight, "id_fp32", start + _input([1, 1], [1]))
    assert answer.status == 200


BINARY = {
    "size too small": ({"binary_data_size": 3}, b"\0" * 4),
    "size too large": ({"binary_data_size": 400}, b"\0" * 4),
    "bytes left over": ({"binary_data_size": 4}, b"\0" * 9),
    "negative size": ({"binary_data_size": -4}, b"\0" * 4),
    "size of another type": ({"binary_data_size": "4"}, b"\0" * 4),
    "float size": ({"binary_data_size": 4.5}, b"\0" * 4),
    "huge size": ({"binary_data_size": 2**63}, b"\0" * 4),
    "shared memory": ({"shared_memory_region": "r", "shared_memory_byte_size": 4}, b""),
}


@pytest.mark.parametrize("case", BINARY)
def test_binary_sizes_that_do_not_add_up(tight: Gateway, case: str) -> None:
    parameters, tail = BINARY[case]
    one = {"name": "X", "shape": [1, 1], "datatype": "FP32", "parameters": parameters}
    head = json.dumps({"inputs": [one]}).encode()
    with Witness(tight):
        answer = tight.get(
            "/v2/models/id_fp32/infer",
            head + tail,
            "POST",
            {"Inference-Header-Content-Length": str(len(head))},
        )
        assert answer.status in ({400, 501} if case == "shared memory" else {400}), answer
        assert answer.json()["error"]


def test_data_and_binary_size_together_are_refused(tight: Gateway) -> None:
    one = {
        **oip.json_input("X", np.zeros((1, 1), np.float32)),
        "parameters": {"binary_data_size": 4},
    }
    head = json.dumps({"inputs": [one]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = tight.get("/v2/models/id_fp32/infer", head + b"\0" * 4, "POST", headers)
    assert answer.status == 400
