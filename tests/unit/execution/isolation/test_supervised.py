"""A version in a child: the same answers, and whatever ends the child ends nothing else."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

from serving.errors import ErrorCode, LoadError, Retry
from serving.execution.faults import FaultError
from serving.execution.isolation import idle_channels
from serving.execution.isolation.crashes import CrashError, NotRunningError
from serving.execution.isolation.parent.process import ChildFailedError
from serving.execution.isolation.parent.supervised import IsolatedRunner, load_isolated_runner
from serving.execution.run_limit import RunLimitError
from serving.execution.session import Runner, load_runner
from serving.model_config.schema import ModelConfig, TensorConfig
from serving.settings import Settings, load_settings
from tests import crash_models
from tests.clients.gateway import wait_until
from tests.clients.processes import children_of, cpu_seconds, gone, open_fds
from tests.small_models import ELEMENT_TYPES, identity, pooled, scale, slow, tiny, write
from tests.unit import graphs
from tests.unit.graphs import FLOAT

# A child for each test.
pytestmark = pytest.mark.slow

Load = Callable[..., IsolatedRunner]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Load a model in a child; what is loaded is closed at the end."""
    loaded: list[IsolatedRunner] = []

    def one(
        model: onnx.ModelProto | Path, config: ModelConfig | None = None, **settings: object
    ) -> IsolatedRunner:
        place = model if isinstance(model, Path) else write(tmp_path, f"m{len(loaded)}", model)
        flags = {key.replace("__", "."): value for key, value in settings.items()}
        chosen, _ = load_settings(flags, environ={})
        runner = load_isolated_runner(place, config or ModelConfig(), chosen, "m")
        loaded.append(runner)
        return runner

    yield one
    for runner in loaded:
        runner.close()


def in_process(tmp_path: Path, model: onnx.ModelProto) -> Runner:
    return load_runner(write(tmp_path, "twin", model), ModelConfig(), Settings())


def plain(output: Any) -> tuple[Any, ...]:
    """Comparable, whatever form the output has."""
    if isinstance(output, tuple):
        address, datatype, shape = output
        bits = ctypes.string_at(address, int(np.prod(shape)) * 2) if np.prod(shape) else b""
        return datatype, shape, bits
    if output.dtype == object:
        return "object", output.shape, output.tolist()
    return output.dtype.str, output.shape, output.tobytes()


def values(datatype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    count = int(np.prod(shape))
    if datatype == "BYTES":
        texts = ["", "a\0b", "žluť 🐎", "x" * 1000, "end"]
        array = np.empty(count, object)
        array[:] = [texts[i % len(texts)] for i in range(count)]
        return array.reshape(shape)
    if datatype == "BOOL":
        return (np.arange(count) % 2 == 0).reshape(shape)
    if datatype == "BF16":
        return (np.arange(count) + 0x3F80).astype(np.uint16).reshape(shape)
    names = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}
    dtype = np.dtype(names.get(datatype, datatype.lower()))
    if dtype.kind == "f":
        special = np.array([np.nan, np.inf, -np.inf, -0.0, 1.5], dtype)
    else:
        special = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1], dtype)
    return np.resize(special, shape) if count else np.empty(shape, dtype)


@pytest.mark.parametrize("datatype", sorted(ELEMENT_TYPES))
def test_every_datatype_and_shape_goes_there_and_back_unchanged(
    load: Load, tmp_path: Path, datatype: str
) -> None:
    for rank, shapes in ((2, [(3, 5), (1, 1), (0, 4), (2, 0), (300, 70)]), (0, [()])):
        model = identity(datatype, ["n", "m"][:rank])
        here, there = in_process(tmp_path / f"{rank}", model), load(model)
        for shape in shapes:
            given = values(datatype, shape)
            expected = here.run(["Y"], {"X": given})
            got = there.run(["Y"], {"X": given})
            assert plain(got[0]) == plain(expected[0])
        assert there.signature == here.signature


def test_the_answers_and_facts_are_those_of_a_session_in_process(
    load: Load, tmp_path: Path
) -> None:
    here, there = in_process(tmp_path, tiny()), load(tiny())
    x = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    (expected,), (got,) = here.run(["y"], {"x": x}), there.run(["y"], {"x": x})
    assert isinstance(expected, np.ndarray)
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, expected)
    for fact in ("signature", "providers", "provider", "threads", "notes"):
        assert getattr(there, fact) == getattr(here, fact), fact


def test_an_answer_stays_as_it_is_when_the_next_one_comes(load: Load) -> None:
    runner = load(scale(2))
    first = runner.run(["Y"], {"X": np.full((2, 2), 1, np.float32)})[0]
    runner.run(["Y"], {"X": np.full((2, 2), 5, np.float32)})
    assert isinstance(first, np.ndarray)
    assert first.tolist() == [[2, 2], [2, 2]]


def test_inputs_that_are_views_cross_as_they_look(load: Load) -> None:
    runner = load(scale(1))
    given = np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::3].T.copy().T
    got = runner.run(["Y"], {"X": given})[0]
    assert isinstance(got, np.ndarray)
    assert got.tolist() == given.tolist()


def test_memory_grows_for_large_tensors_and_goes_back_afterwards(load: Load) -> None:
    runner = load(pooled())
    small, large = (np.ones((1, n), np.float32) for n in (1, 8_000_000))
    runner.run(["Y"], {"X": small})
    before = shared_bytes()
    got = runner.run(["Y"], {"X": large})[0]
    assert isinstance(got, np.ndarray)
    assert got.tolist() == [[8_000_000]]
    assert shared_bytes() - before > 30_000_000
    for _ in range(40):
        runner.run(["Y"], {"X": small})
    assert shared_bytes() - before < 1_000_000


def test_memory_for_large_tensors_goes_back_when_nothing_runs(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what the child still maps."""
    monkeypatch.setattr(idle_channels, "QUIET_S", 0.5)
    runner = load(pooled())
    assert runner.pid is not None
    x = np.ones((1, 8_000_000), np.float32)
    runner.run(["Y"], {"X": x})
    assert shared_resident(runner.pid) > 30_000_000
    wait_until(lambda: shared_resident(runner.pid) < 1_000_000, 30, "it is given back")
    assert shared_bytes() < 1_000_000
    for _ in range(2):
        (got,) = runner.run(["Y"], {"X": x})
        assert isinstance(got, np.ndarray)
        assert got.tolist() == [[8_000_000]]


def shared_resident(pid: int | None) -> int:
    """Of the tensors' memory that a process maps, what is there."""
    total, ours = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            ours = "serving-tensors" in line
        elif ours and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def shared_bytes() -> int:
    """Of the tensors' memory that this process has mapped."""
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "serving-tensors" in line:
            start, end = line.split()[0].split("-")
            total += int(end, 16) - int(start, 16)
    return total


def test_many_threads_run_at_once_and_none_sees_anothers_answer(load: Load) -> None:
    runner = load(scale(3))
    wrong: list[object] = []

    def ask(number: int) -> None:
        for i in range(100):
            value = float(number * 1000 + i)
            got = runner.run(["Y"], {"X": np.full((1 + i % 3, 2), value, np.float32)})[0]
            if not isinstance(got, np.ndarray) or not (got == value * 3).all():
                wrong.append(got)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


# Loading


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "is empty"), (b"not a model", "corrupt"), (b"\x08\x08", "holds no graph")],
)
def test_a_model_that_does_not_load_fails_with_the_same_words_as_in_process(
    load: Load, tmp_path: Path, data: bytes, words: str
) -> None:
    place = write(tmp_path, "bad", data)
    with pytest.raises(LoadError, match=words) as there:
        load(place)
    with pytest.raises(LoadError) as here:
        load_runner(place, ModelConfig(), Settings())
    assert there.value.reason == here.value.reason


def test_the_configuration_reaches_the_child(load: Load) -> None:
    with pytest.raises(LoadError, match="'z'"):
        load(tiny(), ModelConfig(inputs=(TensorConfig("z"),)))


def test_fault_15_a_load_that_needs_more_memory_than_it_may_fails_alone_and_may_heal(
    load: Load,
) -> None:
    weights = {"w": np.ones(200_000_000 // 4, np.float32)}
    large = graphs.one("Add", [("x", FLOAT, [1])], [("y", FLOAT, [50_000_000])], weights)
    with pytest.raises(LoadError, match="memory") as failed:
        load(large, ModelConfig(memory_bytes=1), isolation__memory_bytes=1)
    assert failed.value.retry is Retry.LATER


def test_fault_14_a_file_that_crashes_the_loader_ends_only_the_child(load: Load) -> None:
    with pytest.raises(LoadError, match=r"ended while it loaded it \(SIGFPE\)"):
        load(crash_models.divide_constants())


def test_fault_9_a_child_comes_back_with_what_was_loaded_first(load: Load, tmp_path: Path) -> None:
    place = graphs.external("w.bin", tmp_path, np.array([1, 2, 3], np.float32).tobytes())
    runner = load(place)
    (place / "w.bin").write_bytes(np.array([7, 7, 7], np.float32).tobytes())
    (place / "model.onnx").unlink()
    kill(runner)
    assert runner.wait_ready(30)
    got = runner.run(["y"], {"a": np.zeros((1, 3), np.float32)})[0]
    assert isinstance(got, np.ndarray)
    assert got.tolist() == [[1, 2, 3]]


def kill(runner: IsolatedRunner) -> None:
    """End its child, and wait until that was noticed."""
    pid = runner.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while runner.pid == pid and time.monotonic() < end:
        time.sleep(0.005)


# Ends of the child


def poison(rows: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "A": np.full((rows, 1), crash_models.POISON, np.int64),
        "B": np.full((rows, 1), -1, np.int64),
    }


HARMLESS = {"A": np.array([[7]]), "B": np.array([[2]])}


def test_fault_20_a_crash_is_told_from_its_cause_and_the_child_is_back(load: Load) -> None:
    runner = load(crash_models.divide_by_input())
    with pytest.raises(CrashError, match="SIGFPE") as crash:
        runner.run(["Y"], poison())
    assert crash.value.alone
    assert runner.wait_ready(30)
    got = runner.run(["Y"], HARMLESS)[0]
    assert isinstance(got, np.ndarray)
    assert got.tolist() == [[3]]
    assert runner.trouble == ""


def test_fault_20_a_run_that_finds_its_child_gone_waits_for_the_next_one(load: Load) -> None:
    runner = load(crash_models.divide_by_input())
    hosted = runner._hosted
    assert hosted is not None
    # Another run has met its end and asks how it came; whoever keeps it has not seen it.
    hosted._dead = True
    with pytest.raises(NotRunningError):
        runner.run(["Y"], HARMLESS)
    assert not runner.wait_ready(0.05)
    hosted.child.kill()
    assert runner.wait_ready(30)
    runner.run(["Y"], HARMLESS)


def test_fault_20_a_crash_loop_waits_longer_each_time_and_says_so(load: Load) -> None:
    runner = load(
        crash_models.divide_by_input(), isolation__restart_first_s=1.0, isolation__restart_max_s=9
    )
    waited = []
    for _ in range(3):
        assert runner.wait_ready(30)
        with pytest.raises(CrashError):
            runner.run(["Y"], poison())
        began = time.monotonic()
        with pytest.raises(NotRunningError):
            runner.run(["Y"], HARMLESS)
        assert "its process ended (SIGFPE)" in eventually(lambda: runner.trouble)
        assert runner.wait_ready(30)
        waited.append(time.monotonic() - began)
    assert waited[1] >= 1.0
    assert waited[2] >= 2.0


def eventually(value: Callable[[], str]) -> str:
    end = time.monotonic() + 10
    while not value() and time.monotonic() < end:
        time.sleep(0.005)
    return value()


def test_who_was_not_alone_when_it_crashed_is_told_so(load: Load) -> None:
    runner = load(crash_models.endless(), ModelConfig(run_timeout_s=0))
    looping: list[CrashError] = []

    def loop() -> None:
        try:
            runner.run(["Y"], {"X": np.array([[-1]], np.float32)})
        except CrashError as error:
            looping.append(error)

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    pid = runner.pid
    assert pid is not None
    used = cpu_seconds(pid)
    # Both loop when it has used some time on more than one thread.
    end = time.monotonic() + 30
    while cpu_seconds(pid) < used + 0.3 and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(pid, signal.SIGSEGV)
    for thread in threads:
        thread.join(30)
    told = [(error.alone, error.killed) for error in looping]
    assert told == [(False, False), (False, False)]


def test_sigkill_from_outside_is_not_blamed_on_who_was_running(load: Load) -> None:
    runner = load(crash_models.endless(), ModelConfig(run_timeout_s=0))
    crashes: list[CrashError] = []

    def loop() -> None:
        try:
            runner.run(["Y"], {"X": np.array([[-1]], np.float32)})
        except CrashError as error:
            crashes.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    pid = runner.pid
    assert pid is not None
    used = cpu_seconds(pid)
    end = time.monotonic() + 30
    while cpu_seconds(pid) < used + 0.1 and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    thread.join(30)
    assert [(crash.words, crash.alone, crash.killed) for crash in crashes] == [
        ("SIGKILL", False, True)
    ]


def test_fault_23_an_endless_loop_ends_at_its_limit_and_the_child_lives(load: Load) -> None:
    runner = load(crash_models.endless(), ModelConfig(run_timeout_s=0.4))
    pid = runner.pid
    began = time.monotonic()
    with pytest.raises(RunLimitError, match=r"longer than its limit of 0\.4 s"):
        runner.run(["Y"], {"X": np.array([[-1]], np.float32)})
    assert 0.4 <= time.monotonic() - began < 1.5
    assert runner.pid == pid
    got = runner.run(["Y"], {"X": np.array([[4]], np.float32)})[0]
    assert isinstance(got, np.ndarray)
    assert got.tolist() == [[4]]


def test_fault_23_a_child_that_does_not_stop_by_itself_is_killed(load: Load) -> None:
    runner = load(tiny(), ModelConfig(run_timeout_s=0.2))
    pid = runner.pid
    assert pid is not None
    x = np.zeros((1, 4), np.float32)
    runner.run(["y"], {"x": x})
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(RunLimitError):
        runner.run(["y"], {"x": x})
    assert gone(pid)
    assert runner.wait_ready(30)
    runner.run(["y"], {"x": x})


def test_fault_24_eight_bytes_that_ask_for_terabytes_get_an_error(load: Load) -> None:
    runner = load(crash_models.allocate(), isolation__memory_bytes=256 * 1024 * 1024)
    pid = runner.pid
    with pytest.raises(FaultError) as failed:
        runner.run(["Y"], {"N": np.array([2**40])})
    assert failed.value.fault.code is ErrorCode.TOO_LARGE
    assert f"{4 << 40} bytes of memory at once" in failed.value.fault.message
    got = runner.run(["Y"], {"N": np.array([1000])})[0]
    assert isinstance(got, np.ndarray)
    assert got.tolist() == [1000]
    assert runner.pid == pid


@pytest.mark.parametrize(("megabytes", "fits"), [(64, False), (900, True)])
def test_fault_15_a_run_gets_as_much_memory_as_isolation_memory_bytes_says(
    load: Load, megabytes: int, fits: bool
) -> None:
    runner = load(crash_models.allocate(), isolation__memory_bytes=megabytes * 1024 * 1024)
    ones = {"N": np.array([25_000_000])}  # a hundred megabytes, twice
    if fits:
        runner.run(["Y"], ones)
        return
    with pytest.raises(FaultError, match="memory"):
        runner.run(["Y"], ones)


def test_fault_102_answers_are_bounded_by_their_number_and_by_the_processs_budget(
    load: Load,
) -> None:
    limits = {"limits__max_message_bytes": 4096, "limits__process_bytes": 10_000}
    runner = load(scale(1), **limits)
    fitting = [(512, 1), (1024, 2), (1250, 8), (5000, 0)]
    too_large = [(513, 1), (1025, 2), (1251, 8)]
    for rows, requests in fitting + too_large:
        feeds = {"X": np.zeros((rows, 2), np.float32)}
        if (rows, requests) in fitting:
            assert len(runner.run(["Y"], feeds, requests)) == 1
            continue
        with pytest.raises(FaultError, match=r"limits\.max_message_bytes") as failed:
            runner.run(["Y"], feeds, requests)
        assert failed.value.fault.code is ErrorCode.TOO_LARGE


def test_memory_of_a_large_run_is_given_back_when_nothing_runs(load: Load) -> None:
    runner = load(crash_models.allocate())
    assert runner.pid is not None
    process = psutil.Process(runner.pid)
    before = process.memory_info().rss
    runner.run(["Y"], {"N": np.array([50_000_000])})
    taken = process.memory_info().rss - before
    assert taken > 300e6
    wait_until(
        lambda: process.memory_info().rss - before < taken / 4, 60, "the child gives it back"
    )


def test_errors_of_a_run_are_the_same_as_in_process(load: Load, tmp_path: Path) -> None:
    table = {"d": np.arange(4, dtype=np.float32)}
    made = graphs.one("Gather", [("x", 7, ["n"])], [("y", FLOAT, ["n"])], table, ["d", "x"])
    with pytest.raises(FaultError) as failed:
        load(made).run(["y"], {"x": np.array([9])})
    assert failed.value.fault.code is ErrorCode.BAD_DATA
    assert failed.value.fault.message.endswith("an index is out of range (operator Gather)")


# What is left


def test_close_ends_the_child_and_what_runs_in_it(load: Load) -> None:
    runner = load(crash_models.endless(), ModelConfig(run_timeout_s=0))
    pid = runner.pid
    assert pid is not None
    ended = threading.Event()

    def loop() -> None:
        try:
            runner.run(["Y"], {"X": np.array([[-1]], np.float32)})
        except (CrashError, NotRunningError):
            ended.set()

    thread = threading.Thread(target=loop)
    thread.start()
    runner.close()
    assert ended.wait(10)
    thread.join()
    assert gone(pid)
    with pytest.raises(NotRunningError):
        runner.run(["Y"], {"X": np.array([[1]], np.float32)})
    assert not runner.wait_ready(0.1)


def test_close_during_a_back_off_does_not_wait_for_its_end(load: Load) -> None:
    others = set(children_of(os.getpid()))
    runner = load(
        crash_models.divide_by_input(), isolation__restart_first_s=50, isolation__restart_max_s=50
    )
    for _ in range(2):
        assert runner.wait_ready(30)
        with pytest.raises(CrashError):
            runner.run(["Y"], poison())
    assert "50.0 s" in eventually(lambda: runner.trouble)
    began = time.monotonic()
    runner.close()
    assert time.monotonic() - began < 5
    assert set(children_of(os.getpid())) <= others


def test_nothing_is_left_of_children_that_came_and_went(load: Load, tmp_path: Path) -> None:
    others = set(children_of(os.getpid()))
    place = write(tmp_path, "m", crash_models.divide_by_input())
    before: int | None = None
    rounds = int(os.environ.get("SERVING_TEST_LOADS", "6"))
    for number in range(rounds):
        runner = load_isolated_runner(place, ModelConfig(), Settings(), "m")
        runner.run(["Y"], HARMLESS)
        if number % 3 == 2:
            with pytest.raises(CrashError):
                runner.run(["Y"], poison())
            assert runner.wait_ready(30)
        runner.close()
        before = open_fds() if before is None else before
        assert open_fds() == before
        assert set(children_of(os.getpid())) <= others
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("keep ") for name in names)


def test_fault_73_an_idle_child_uses_no_cpu(load: Load) -> None:
    runner = load(tiny())
    runner.run(["y"], {"x": np.zeros((1, 4), np.float32)})
    pid = runner.pid
    assert pid is not None
    before = cpu_seconds(pid) + cpu_seconds(os.getpid())
    threading.Event().wait(2)
    assert cpu_seconds(pid) + cpu_seconds(os.getpid()) - before <= 0.02


def test_a_child_that_no_thread_can_be_had_to_keep_is_ended(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tiny())  # what starts processes has its thread
    before, start = children_of(os.getpid()), threading.Thread.start

    def no_keeper(thread: threading.Thread) -> None:
        if thread.name.startswith("keep "):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_keeper)
    with pytest.raises(RuntimeError):
        load(tiny())
    assert children_of(os.getpid()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's on Linux")
def test_fault_106_long_runs_in_a_child_give_way(load: Load) -> None:
    long, short = load(slow(0.05)), load(tiny())
    for _ in range(4):
        long.run(["Y"], {"X": np.zeros((1, 1), np.float32)})
        short.run(["y"], {"x": np.zeros((1, 4), np.float32)})

    def nicest(runner: IsolatedRunner) -> int:
        """Of its threads."""
        tasks = Path(f"/proc/{runner.pid}/task").iterdir()
        return max(os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks)

    own = os.getpriority(os.PRIO_PROCESS, os.getpid())
    wait_until(lambda: nicest(long) == min(19, own + 5), 5, "the long ones give way")
    assert nicest(short) == own


def test_fault_115_a_child_without_a_thread_for_a_run_serves_the_next_one(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = load(scale(2.0))
    hosted = runner._hosted
    assert hosted is not None
    before, pid = open_fds(), runner.pid

    def none(*args: object, **more: object) -> None:
        raise ChildFailedError("RuntimeError: can't start new thread")

    feeds = {"X": np.ones((1, 2), np.float32)}
    with monkeypatch.context() as short:
        short.setattr(hosted.child, "ask", none)
        for _ in range(2):
            with pytest.raises(FaultError, match="no thread for this request") as refused:
                runner.run(["Y"], feeds)
            assert refused.value.fault.code is ErrorCode.UNAVAILABLE
    assert open_fds() == before
    assert plain(runner.run(["Y"], feeds)[0])[1] == (1, 2)
    assert runner.pid == pid
