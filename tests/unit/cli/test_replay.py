"""``serving replay`` without a gateway: comparing, bounds, and what it prints."""

from __future__ import annotations

import gzip
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from typer.testing import CliRunner

from serving.cli import app
from serving.cli.output import UserError
from serving.cli.resend import Outcome, Target, resend
from serving.cli.unreached import UnreachedError
from serving.observe.request_log.compare import differences
from serving.observe.request_log.read import Entry
from serving.observe.request_log.record import Record, record_of
from serving.observe.request_log.tensors import LoggedTensor
from serving_client import InferResult
from tests.clients import oip
from tests.clients.gateway import wait_until
from tests.unit.request_log_samples import line, sample

LOOSE = {"rtol": 1e-3, "atol": 1e-4}


def tensor(values: object, datatype: str = "FP32", name: str = "Y") -> LoggedTensor:
    array = np.array(values, oip.DTYPES[datatype])
    return LoggedTensor(name, datatype, array.shape, oip.encode(array, datatype))


SAME = [
    ([1.0, 2.0], [1.0005, 2.0], "FP32"),
    ([0.0], [0.00009], "FP64"),
    ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], "FP32"),
    ([1.0], [1.0], "FP16"),
    ([0x3F80], [0x3F80], "BF16"),
    ([0.0], [-0.0], "FP32"),
    ([], [], "FP32"),
    (["a"], ["a"], "BYTES"),
    ([True], [True], "BOOL"),
]
DIFFERENT = [
    ([1.0, 2.0], [1.0, 2.5], "FP32", "1 of 2 values differ, by up to 0.5"),
    ([np.nan], [1.0], "FP32", "1 of 1 values differ"),
    ([np.inf], [-np.inf], "FP64", "1 of 1 values differ"),
    ([np.inf], [3.0e38], "FP32", "1 of 1 values differ"),
    ([1.0], [1.1], "FP16", "1 of 1 values differ"),
    ([0x3F80], [0x3F90], "BF16", "1 of 1 values differ, by up to 0.125"),
    ([1000000], [1000001], "INT64", "1 of 1 values differ"),
    ([True, False], [True, True], "BOOL", "1 of 2 values differ"),
    (["a", "b"], ["a", "c"], "BYTES", "1 of 2 texts differ"),
]


@pytest.mark.parametrize(("before", "after", "datatype"), SAME)
def test_answers_within_the_tolerance_are_the_same(
    before: object, after: object, datatype: str
) -> None:
    assert differences([tensor(before, datatype)], {"Y": tensor(after, datatype)}, **LOOSE) == []


@pytest.mark.parametrize(("before", "after", "datatype", "words"), DIFFERENT)
def test_other_answers_differ_in_words(
    before: object, after: object, datatype: str, words: str
) -> None:
    (found,) = differences([tensor(before, datatype)], {"Y": tensor(after, datatype)}, **LOOSE)
    assert found.startswith("output 'Y'")
    assert words in found


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({}, "is missing"),
        ({"Y": tensor([1, 2], "INT64")}, "is INT64, was FP32"),
        ({"Y": tensor([[1, 2]])}, "has shape [1, 2], had [2]"),
        ({"Y": tensor([1, 2]), "Z": tensor([1])}, "output 'Z' was not there before"),
    ],
)
def test_another_form_of_answer_differs(after: dict[str, LoggedTensor], words: str) -> None:
    (found,) = differences([tensor([1, 2])], after, **LOOSE)
    assert words in found


def test_a_redacted_output_is_held_to_its_form() -> None:
    hidden = LoggedTensor("Y", "FP32", (2,), None)
    assert differences([hidden], {"Y": tensor([5, 6])}, **LOOSE) == []
    assert differences([hidden], {"Y": tensor([5])}, **LOOSE) != []


def record(**fields: object) -> Record:
    return record_of(sample(**fields), None)


class Doubling:
    """Answers as the sample's model did, and knows how many ask at once."""

    def __init__(self, factor: float = 2) -> None:
        self.factor = factor
        self.asked: list[tuple[str, str, Sequence[str]]] = []
        self.most = self._now = 0
        self._lock = threading.Lock()
        self.together = threading.Barrier(3)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def server_metadata(self) -> None:
        return

    def infer(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        *,
        version: str,
        outputs: Sequence[str] = (),
    ) -> InferResult:
        with self._lock:
            self.asked.append((model, version, outputs))
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            self.together.wait(10)
        finally:
            with self._lock:
                self._now -= 1
        doubled = {"Y": inputs["X"] * np.float32(self.factor)}
        return InferResult(model, version or "9", "", {}, doubled, {"Y": "FP32"})


class Alone(Doubling):
    def __init__(self, factor: float = 2) -> None:
        super().__init__(factor)
        self.together = threading.Barrier(1)


def entries(*records: Record) -> list[Entry]:
    return [Entry(f"log:{i + 1}", one) for i, one in enumerate(records)]


def test_requests_go_out_at_most_so_many_at_once_and_come_back_in_order() -> None:
    client = Doubling()
    read = 0

    def reading() -> object:
        nonlocal read
        for entry in entries(*[record(id=str(i)) for i in range(30)]):
            read += 1
            yield entry

    outcomes = resend(reading(), client, Target(), concurrency=3, **LOOSE)  # type: ignore[arg-type]  # a generator of entries
    first = next(outcomes)
    assert read <= 7
    found = [first, *outcomes]
    assert [one.place for one in found] == [f"log:{i + 1}" for i in range(30)]
    assert client.most == 3


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (Target(), ("m", "3", ["Y"])),
        (Target(version="5"), ("m", "5", ["Y"])),
        (Target(version=""), ("m", "", ["Y"])),
        (Target(model="n"), ("n", "3", ["Y"])),
    ],
)
def test_the_target_says_where_requests_go(target: Target, asked: object) -> None:
    client = Alone()
    (outcome,) = resend(entries(record()), client, target, concurrency=1, **LOOSE)
    assert client.asked == [asked]
    assert outcome.result == "same"
    assert outcome.now == {None: "3", "": "9"}.get(target.version, target.version)


def _hiding(*names: str) -> Record:
    return record_of(sample(), tuple({"X", "Y"} - {*names}))


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (_hiding("X"), "redacted"),
        (_hiding("Y"), "redacted"),
        (record(word="bad_data"), "refused then"),
    ],
)
def test_what_cannot_be_sent_or_compared_is_skipped(one: Record, words: str) -> None:
    client = Alone()
    (outcome,) = resend(entries(one), client, Target(), concurrency=1, **LOOSE)
    assert (outcome.result, outcome.words) == ("skipped", words)
    assert client.asked == []


def _file(tmp_path: Path, *lines: bytes) -> Path:
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"".join(lines) + b"damaged\n")
    return file


def _run(monkeypatch: pytest.MonkeyPatch, client: object, *arguments: object) -> tuple[int, str]:
    # By name: in the package it is the command that is called so.
    monkeypatch.setattr(sys.modules["serving.cli.replay"], "_client", lambda *given: client)
    done = CliRunner().invoke(app, ["replay", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_table_counts_and_the_differences_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _file(tmp_path, line(sample()), line(sample(), ("Y",)), line(sample(model="n")))
    code, text = _run(monkeypatch, Alone(factor=3), file, "--concurrency", 1)
    lines = text.splitlines()
    assert code == 1
    assert lines[0].split() == ["MODEL", "THEN", "NOW", "SAME", "DIFFERENT", "FAILED", "SKIPPED"]
    assert [line.split() for line in lines[1:4]] == [
        ["m", "3", "-", "0", "0", "0", "1"],
        ["m", "3", "3", "0", "1", "0", "0"],
        ["n", "3", "3", "0", "1", "0", "0"],
    ]
    assert "skipped, redacted: 1" in lines
    assert "damaged: 1" in lines
    assert "  log.jsonl:4: it is not JSON" in lines
    assert lines[-2].startswith("log.jsonl:1: m 3: different: output 'Y': 2 of 2 values differ")


def test_the_same_answers_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(tmp_path, line(sample()))
    assert _run(monkeypatch, Alone(), file, "--concurrency", 1)[0] == 0
    assert _run(monkeypatch, Alone(2.001), file, "--concurrency", 1)[0] == 0
    assert _run(monkeypatch, Alone(2.001), file, "--concurrency", 1, "--rtol", 1e-5)[0] == 1


def test_nothing_sent_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    part = folder / "requests-1.jsonl.part"

    def words(*arguments: object) -> str:
        with pytest.raises(UserError) as error:
            CliRunner().invoke(app, ["replay", *map(str, arguments)], catch_exceptions=False)
        assert error.value.code == 1
        return str(error.value)

    monkeypatch.setattr(sys.modules["serving.cli.replay"], "_client", lambda *given: Alone())
    assert words(folder) == "nothing was sent: there is no request in it"
    part.write_bytes(line(sample()))
    assert f"{part} is still being written and was left out: give that file" in words(folder)
    assert _run(monkeypatch, Alone(), part)[0] == 0
    file = _file(tmp_path, line(sample(), ("Y",)))
    assert words(file, "--model", "n").endswith(
        "no request is for model 'n' (there are some for m); damaged: 1"
    )
    assert "skipped, redacted: 1" in words(file, "--json")


def test_a_file_that_is_still_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requests-1.jsonl").write_bytes(line(sample()))
    part = tmp_path / "requests-2.jsonl.part"
    part.write_bytes(line(sample()))
    code, text = _run(monkeypatch, Alone(), tmp_path)
    assert code == 0
    assert f"left out, for it is still being written: {part}" in text.splitlines()


def test_a_refusal_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Alone):
        def infer(self, *given: object, **more: object) -> InferResult:  # type: ignore[override]  # refuses anything
            raise UserError("status 404: unknown model 'm'")

    code, text = _run(monkeypatch, Refusing(), _file(tmp_path, line(sample())))
    assert code == 1
    assert "failed: status 404: unknown model 'm'" in text


def test_what_is_no_log_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["serving.cli.replay"], "_client", lambda *given: Alone())
    folder = tmp_path / "log"
    folder.mkdir()
    packed, foreign = folder / "a.jsonl", folder / "b.jsonl"
    packed.write_bytes(gzip.compress(line(sample())))
    foreign.write_bytes(b'{"foo": 1}\n' * 50)
    for file, words in (
        (packed, "unpack it first"),
        (foreign, "no request log: line 1: it has no"),
    ):
        with pytest.raises(UserError, match=words) as ended:
            CliRunner().invoke(app, ["replay", str(file)], catch_exceptions=False)
        assert len(ended.value.lines) == 1
    # Beside logs in a folder it is passed over.
    (folder / "c.jsonl").write_bytes(line(sample()))
    code, text = _run(monkeypatch, Alone(), folder)
    assert code == 0
    assert "damaged: 2" in text.splitlines()


def test_nobody_there_ends_it_at_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(tmp_path, *[line(sample())] * 50)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UserError, match=f"nothing listens at {url}"):
            CliRunner().invoke(app, ["replay", str(file), "--url", url], catch_exceptions=False)

    class Leaving(Alone):
        def infer(self, *given: Any, **more: Any) -> InferResult:
            if len(self.asked) == 3:
                raise UnreachedError("nothing listens there")
            return super().infer(*given, **more)

    code, text = _run(monkeypatch, Leaving(), file, "--concurrency", 1)
    assert code == 1
    assert "3" in text.splitlines()[1].split()
    assert "failed" not in text


def test_only_so_many_differences_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _file(tmp_path, *[line(sample())] * 5)
    code, text = _run(monkeypatch, Alone(3), file, "--show", 2, "--concurrency", 1)
    assert code == 1
    assert text.count(": different: ") == 2
    assert text.splitlines()[-1] == "and 3 more"


@pytest.mark.parametrize("version", ["0", "-1", "latest", "1.5"])
def test_a_wrong_version_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    with pytest.raises(UserError, match="expected a positive number"):
        CliRunner().invoke(
            app, ["replay", str(_file(tmp_path)), f"--version={version}"], catch_exceptions=False
        )


def test_an_outcome_says_where_it_stands() -> None:
    (outcome,) = resend(entries(record()), Alone(), Target(), concurrency=1, **LOOSE)
    assert outcome == Outcome("log:1", "m", 3, "3", "same", "")


def test_on_a_terminal_a_line_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = sys.modules["serving.cli.replay"]
    monkeypatch.setattr(module, "_PROGRESS_S", 0.01)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    report = module.Report()
    report.add(Outcome("log:1", "m", 3, "", "failed", "no"))
    with module._progress(report, quiet=False):
        wait_until(lambda: "1 requests, 1 different or failed" in capsys.readouterr().err, 10, "it")
    with module._progress(report, quiet=True):
        pass
    assert capsys.readouterr().err.strip() == ""
