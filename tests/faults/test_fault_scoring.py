"""Bodies and values on MLflow's scoring paths: each fault is refused in its envelope, in bounded
words, and costs nobody else anything."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest

from tests.clients.gateway import Gateway, HttpAnswer
from tests.clients.witness import MIB, Witness

JSON, CSV = "application/json", "text/csv"
PARQUET = "application/vnd.apache.parquet"
DEEP = "[" * 50_000


def ask(
    gateway: Gateway, body: bytes | str, kind: str = JSON, model: str = "tiny", **headers: str
) -> HttpAnswer:
    data = body.encode() if isinstance(body, str) else body
    path = f"/models/{model}/invocations"
    return gateway.get(path, data, "POST", {"Content-Type": kind, **headers})


def refused(answer: HttpAnswer, status: int = 400) -> str:
    assert answer.status == status, answer
    said = answer.json()
    assert said["error_code"] in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")
    assert "stack_trace" not in said
    assert 0 < len(said["message"]) < 2000
    return str(said["message"])


def keys(count: int) -> dict[str, int]:
    return {f"k{i}": 0 for i in range(count)}


# What takes long to make is made where it is sent.
HOSTILE: dict[str, tuple[bytes | str | Callable[[], str], str]] = {
    "58 a number beyond FP64": ('{"inputs": [[1e400, 0, 0, 0]]}', JSON),
    "58 a number beyond FP32": ('{"inputs": [[1e39, 0, 0, 0]]}', JSON),
    "58 an object for a number": ('{"inputs": [[{}, 0, 0, 0]]}', JSON),
    "59 deep": (f'{{"inputs": {DEEP}', JSON),
    "59 deep where nobody looks": (f'{{"other": {DEEP}', JSON),
    "59 deep in a cell": (f'{{"dataframe_records": [{{"p": {DEEP}', JSON),
    "59 deep in params": (f'{{"params": {DEEP}', JSON),
    "59 deep in a row": (f'{{"dataframe_split": {{"data": [[{DEEP}', JSON),
    "59 many keys": (lambda: json.dumps(keys(50_000)), JSON),
    "59 many inputs": (lambda: json.dumps({"inputs": keys(50_000)}), JSON),
    "59 long integers": (f'{{"inputs": [[{"9" * 4000}, 0, 0, 0]]}}', JSON),
    "60 ragged": ('{"inputs": [[1, 2, 3, 4], [5]]}', JSON),
    "60 trailing garbage": ('{"inputs": [[1, 2, 3, 4]]} []', JSON),
    "60 cut off": ('{"inputs": [[1, 2, 3', JSON),
    "60 no UTF-8": (b'{"inputs": "\xff"}', JSON),
    "60 a lone surrogate": ('{"inputs": ["\\ud800"]}', JSON),
    "60 an open quote": ('p,q,r,s\n1,2,3,"4\n', CSV),
    "60 no UTF-8 in a table": (b"p,q,r,s\n1,2,3,\xff\n", CSV),
    "60 more cells than names": ("p,q,r,s\n1,2,3,4,5\n", CSV),
    "50 no Parquet": (b"PAR1" + bytes(64) + b"PAR1", PARQUET),
}


def hostile(name: str) -> tuple[bytes | str, str]:
    """A body, and what it says that it is."""
    body, kind = HOSTILE[name]
    return body() if callable(body) else body, kind


@pytest.mark.parametrize("name", HOSTILE)
def test_faults_50_to_60_are_refused_in_words(tight: Gateway, name: str) -> None:
    refused(ask(tight, *hostile(name)))


def test_fault_59_what_hostile_bodies_make_is_bounded(tight: Gateway) -> None:
    """More columns in each record: cells that did not come would be a thousand times what came.
    The most columns that there may be take 50 MiB, given back in a quiet second."""
    columns = ",".join(f'{{"c{i}":1}}' for i in range(20_000))
    with Witness(tight, slack=80 * MIB):
        refused(ask(tight, f'{{"dataframe_records": [{columns}]}}'), 413)
        many = ",".join(f"c{i}" for i in range(70_000))
        assert "at most 65536 columns" in refused(ask(tight, many, CSV))
        for name in ("59 deep", "59 many keys"):
            refused(ask(tight, *hostile(name)))


def test_fault_41_the_limit_counts_what_is_unpacked(tight: Gateway) -> None:
    bomb = gzip.compress(b" " * (8 << 20))
    headers = {"Content-Encoding": "gzip"}
    with Witness(tight):
        for kind in (JSON, CSV, PARQUET):
            refused(ask(tight, bomb, kind, **headers), 413)


def test_faults_57_and_58_values_are_never_wrapped_or_guessed(tight: Gateway) -> None:
    for model, values in {
        "id_bool": ["2", "-1", '"x"', "null", "0.5"],
        "id_uint8": ["256", "-1", "0.5", "NaN", "null", '"1.5"'],
        "id_int64": ["9223372036854775808", "1e19", "0.1", "Infinity"],
        "id_bytes": ["1", "true", "null", "[]"],
    }.items():
        for value in values:
            refused(ask(tight, f'{{"inputs": [[{value}]]}}', model=model))
