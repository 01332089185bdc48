"""Threads that run batches: the guilty request fails, its neighbours do not.

The queue here is a scripted twin of the core's, which takes requests only from the doors.
Its rules are the core's own: ``split`` halves, ``complete`` refuses rows that do not fit.
"""

from __future__ import annotations

import queue as queues
import threading
from typing import Any

import numpy as np
import pytest

from serving.errors import ErrorCode
from serving.execution import first_requests
from serving.execution.abandoned import Runs
from serving.execution.instances import Instances
from serving.execution.isolation.crashes import CrashError, NotRunningError
from serving.execution.recovery import Recovery
from serving.execution.run_limit import RunLimitError, RunStoppedError
from serving.execution.session import load_runner
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from tests.unit import graphs
from tests.unit.graphs import FLOAT, INT64


class Request:
    def __init__(self, value):
        self.value = value
        self.answer = None
        self.error: Any = None
        self.done = threading.Event()
        self.expired = self.left = False

    def finish(self, answer=None, error=None):
        assert not self.done.is_set(), "answered twice"
        self.answer, self.error = answer, error
        self.done.set()


class Batch:
    outputs = ("y",)
    deadline = None
    of_copies = False

    def __init__(self, requests):
        self.members = requests
        self.stepped_aside = 0

    def step_aside(self):
        self.stepped_aside += 1

    def is_abandoned(self):
        return all(member.left for member in self.members)

    def abandon(self):
        for member in self.members:
            member.finish(error=("abandoned", "", ""))

    @property
    def requests(self):
        return len(self.members)

    @property
    def packed_inputs(self):
        return self.inputs

    @property
    def inputs(self):
        return {"x": np.concatenate([member.value for member in self.members])}

    def split(self):
        if len(self.members) < 2:
            return None
        for gone in [member for member in self.members if member.expired]:
            gone.finish(error=(ErrorCode.EXPIRED, "", ""))
        half = len(self.members) // 2
        kept = [
            [m for m in part if not m.expired]
            for part in (self.members[:half], self.members[half:])
        ]
        return Batch(kept[0]), Batch(kept[1])

    def complete(self, outputs):
        rows = sum(len(member.value) for member in self.members)
        if len(outputs[0]) != rows:
            raise ValueError(f"{len(outputs[0])} rows for {rows}")
        at = 0
        for member in self.members:
            member.finish(answer=outputs[0][at : at + len(member.value)].tolist())
            at += len(member.value)

    def fail(self, word, message, detail="", *, harmful=False):
        assert harmful is message.startswith("the model's process ended")
        for member in self.members:
            member.finish(error=(word, message, detail))


class Queue:
    def __init__(self):
        self.line = queues.Queue()

    def put(self, *values):
        requests = [Request(value) for value in values]
        self.line.put(Batch(requests))
        return requests

    def announce_first(self, number):
        """As if a request were there from the start."""
        assert first_requests.start([number]) == []

    def next_batch(self):
        item = self.line.get(timeout=60)
        if isinstance(item, BaseException):
            raise item
        return item


class Function:
    """A runner made of a Python function, for failures that no ONNX model can have."""

    packing: Any = None

    def __init__(self, function):
        self.run = lambda names, feeds, requests=0: function(feeds["x"])
        self.run_alone = self.run
        self.stopped = []

    def stop(self, thread, alone=True):
        self.stopped.append((thread, alone))

    def wait_ready(self, timeout=None, ending=None):
        return True


@pytest.fixture
def serve():
    """Start instances on a runner; they must end when the queue does."""
    started = []

    def start(runner, count=1):
        line, events = Queue(), []
        instances = Instances(line, runner, count, "m:1", lambda *event: events.append(event))
        started.append((line, instances, count))
        return line, events

    yield start
    for line, instances, count in started:
        for _ in range(count):
            line.line.put(None)
        assert instances.join(30)


def gather(tmp_path):
    """y = table[x], four entries: an index of 9 is the client's mistake."""
    table = {"d": np.arange(4, dtype=np.float32)}
    made = graphs.one("Gather", [("x", INT64, ["n"])], [("y", FLOAT, ["n"])], table, ["d", "x"])
    return load_runner(graphs.write(tmp_path, made), ModelConfig(), Settings())


def wait(requests):
    assert all(request.done.wait(30) for request in requests)


class Away:
    """Its process is away, and nothing but the end ends the wait for it."""

    def __init__(self):
        self.waits = queues.SimpleQueue()

    def wait_ready(self, timeout=None, ending=None):
        self.waits.put(timeout)
        woken = threading.Event()
        with ending.waking(woken.set):
            return not woken.wait(20)

    run = run_alone = stop = packing = None


def test_threads_that_wait_for_the_models_process_end_when_told():
    line, runner = Queue(), Away()
    line.line.put(None)
    instances = Instances(line, runner, 1, "m:1")
    assert runner.waits.get(timeout=20) is None  # as long as it takes
    assert instances.join(10)
    assert runner.waits.empty()  # and did not look again and again


@pytest.mark.parametrize("guilty", [[0], [5], [12], [3, 4], [0, 6, 12], list(range(13))])
def test_fault_21_only_the_guilty_of_a_batch_fail(tmp_path, serve, guilty):
    line, events = serve(gather(tmp_path))
    requests = line.put(*(np.array([9 if i in guilty else i % 4]) for i in range(13)))
    wait(requests)
    for i, request in enumerate(requests):
        if i in guilty:
            word, message, detail = request.error
            assert word is ErrorCode.BAD_DATA
            assert message.endswith("an index is out of range (operator Gather)")
            assert "idx=9" in detail
        else:
            assert request.answer == [i % 4]
    assert events == []


def test_fault_21_a_failed_batch_costs_no_later_one(tmp_path, serve):
    line, _ = serve(gather(tmp_path))
    wait(line.put(np.array([9])))
    (later,) = line.put(np.array([2]))
    wait([later])
    assert later.answer == [2]


def test_members_that_expired_meanwhile_are_not_run_again(serve):
    ran = []

    def run(x):
        ran.append(len(x))
        if 9 in x:
            raise RuntimeError
        return [x]

    line, _ = serve(Function(run))
    requests = [Request(np.array([i])) for i in (9, 1, 2, 3)]
    requests[2].expired = requests[3].expired = True
    line.line.put(Batch(requests))
    wait(requests)
    assert requests[2].error[0] is ErrorCode.EXPIRED
    assert requests[1].answer == [1]
    assert ran == [4, 2, 1, 1]


def test_copies_for_a_shadow_are_run_once_whatever_comes_of_it(serve):
    ran = []

    def run(x):
        ran.append(len(x))
        raise RuntimeError

    line, _ = serve(Function(run))
    batch = Batch([Request(np.array([i])) for i in range(4)])
    batch.of_copies = True
    line.line.put(batch)
    wait(batch.members)
    assert ran == [4]


def test_outputs_that_lose_rows_are_run_alone_and_said_once(serve):
    line, events = serve(Function(lambda x: [x[:1]]))
    for _ in range(2):
        requests = line.put(np.array([1]), np.array([2]), np.array([3]))
        wait(requests)
        assert [request.answer for request in requests] == [[1], [2], [3]]
    assert [name for name, _ in events] == ["batch_answer_does_not_fit"]


def test_rows_that_fit_a_half_by_chance_are_not_believed(serve):
    line, _ = serve(Function(lambda x: [x[:1]] if len(x) > 2 else [x[::-1]]))
    requests = line.put(*(np.array([i]) for i in range(4)))
    wait(requests)
    assert [request.answer for request in requests] == [[0], [1], [2], [3]]


def test_a_single_request_whose_answer_does_not_fit_is_an_internal_error(serve):
    line, _ = serve(Function(lambda x: [x[:0]]))
    (request,) = line.put(np.array([1]))
    wait([request])
    word, message, detail = request.error
    assert word is ErrorCode.INTERNAL
    assert "rows or datatypes" in message
    assert "0 rows for 1" in detail


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_whatever_is_raised_costs_a_batch_and_never_the_thread(serve, kind):
    def run(x):
        if 9 in x:
            raise kind
        return [x]

    line, _ = serve(Function(run))
    guilty, beside = line.put(np.array([9]), np.array([2]))
    (later,) = line.put(np.array([1]))
    wait([guilty, beside, later])
    # Want of memory may pass.
    assert guilty.error[0] is (ErrorCode.FULL if kind is MemoryError else ErrorCode.INTERNAL)
    assert (beside.answer, later.answer) == ([2], [1])


def test_a_queue_that_fails_is_reported_and_asked_again(serve):
    line, events = serve(Function(lambda x: [x]))
    line.line.put(RuntimeError("the queue broke"))
    (request,) = line.put(np.array([1]))
    wait([request])
    assert request.answer == [1]
    assert "the queue broke" in events[0][1]["detail"]


def test_instances_run_side_by_side(serve):
    together = threading.Barrier(3, timeout=30)

    def run(x):
        together.wait()
        return [x]

    line, _ = serve(Function(run), count=3)
    requests = [line.put(np.array([i]))[0] for i in range(3)]
    wait(requests)
    assert [request.answer for request in requests] == [[0], [1], [2]]


def test_an_idle_instance_holds_no_batch(serve):
    """What a finished batch held is free while its instance waits for the next."""
    import gc
    import weakref

    line, _ = serve(Function(lambda x: [x]))
    requests = [Request(np.array([1]))]
    batch = Batch(requests)
    gone = weakref.ref(batch)
    line.line.put(batch)
    del batch
    wait(requests)
    for _ in range(1000):
        gc.collect()
        if gone() is None:
            return
        threading.Event().wait(0.01)
    pytest.fail("the instance still holds its last batch")


class Child:
    """A scripted twin of a model's process: dies at a value of 9, comes back at once."""

    packing = None

    def __init__(self, alone=True, comes_back=True):
        self.alone, self.comes_back = alone, comes_back
        self.up = True
        self.ran = []

    def run(self, names, feeds, requests=0):
        return self._run(feeds["x"].tolist(), self.alone)

    def run_alone(self, names, feeds, requests=0):
        return self._run(feeds["x"].tolist(), True)

    def _run(self, x, alone):
        if not self.up:
            raise NotRunningError("it is being started again")
        self.ran.append(x)
        if 9 in x:
            self.up = False
            raise CrashError("SIGFPE", alone)
        return [np.array(x)]

    def wait_ready(self, timeout=None, ending=None):
        if self.comes_back:
            self.up = True
        return self.up


def batch_of(*numbers):
    return Batch([Request(np.array([number])) for number in numbers])


def answers(batch):
    return [m.answer[0] if m.answer else m.error[0] for m in batch.members]


@pytest.mark.parametrize("guilty", [[0], [5], [3, 4], [0, 6, 7], list(range(8))])
@pytest.mark.parametrize("alone", [True, False])
def test_fault_20_a_crash_costs_its_cause_alone(serve, guilty, alone):
    child = Child(alone)
    line, _ = serve(child)
    batch = batch_of(*(9 if i in guilty else i for i in range(8)))
    line.line.put(batch)
    wait(batch.members)
    assert answers(batch) == [ErrorCode.UNAVAILABLE if i in guilty else i for i in range(8)]
    messages = {batch.members[i].error[1] for i in guilty}
    assert messages == {"the model's process ended while it ran this request (SIGFPE)"}


class Shrunk(Batch):
    """Its region shrinks after the first run, which the core tells whoever asked for it."""

    looks = 0

    @property
    def inputs(self):
        self.looks += 1
        if self.looks == 1:
            return super().inputs
        self.members.pop().finish(error=(ErrorCode.BAD_REQUEST, "smaller", ""))
        return {}

    def fail(self, word, message, detail="", *, harmful=False):
        raise AssertionError("there is nobody to be told")


def test_a_request_whose_memory_went_between_two_runs_is_answered_once(serve):
    request = Request(np.array([9]))
    line, _ = serve(Child(alone=False))
    line.line.put(Shrunk([request]))
    wait([request])
    assert request.error[0] is ErrorCode.BAD_REQUEST
    good = batch_of(2)
    line.line.put(good)
    wait(good.members)
    assert answers(good) == [2]


class Beside(Function):
    """Batches of more than two rows run in a twin of a child, packed; others in this process."""

    def __init__(self, child):
        self.within = []
        super().__init__(lambda x: self.within.append(x.tolist()) or [x])
        self.child = child
        self.waited = 0

    def packing(self, batch, again=False):
        return self if again or len(batch.inputs["x"]) > 2 else None

    def run_packed(self, names, feeds, requests=0, alone=False):
        run = self.child.run_alone if alone else self.child.run
        return run(names, feeds)

    def wait_ready(self, timeout=None, ending=None):
        self.waited += timeout is not None
        return self.child.wait_ready(timeout)


def test_fault_110_what_a_child_was_lost_with_never_runs_elsewhere(serve):
    runner = Beside(Child())
    line, _ = serve(runner)
    batch = batch_of(1, 2, 3, 9, 4, 5, 6, 7)
    line.line.put(batch)
    wait(batch.members)
    assert answers(batch) == [1, 2, 3, ErrorCode.UNAVAILABLE, 4, 5, 6, 7]
    assert not runner.within
    halves = [[1, 2, 3, 9], [1, 2], [3, 9], [3], [9]]
    assert [one for one in runner.child.ran if one in halves] == halves
    assert runner.waited
    (request,) = line.put(np.array([8]))
    wait([request])
    assert runner.within == [[8]]


def test_fault_20_who_was_alone_is_not_run_again_and_waits_for_nothing():
    child = Child(comes_back=False)
    batch = batch_of(9)
    Recovery(child, "m:1").settle(batch, CrashError("SIGFPE", alone=True))
    assert answers(batch) == [ErrorCode.UNAVAILABLE]
    assert child.ran == []


def test_who_was_not_alone_is_run_alone_before_it_is_blamed():
    child = Child()
    innocent, guilty = batch_of(3), batch_of(9)
    for batch in (innocent, guilty):
        Recovery(child, "m:1").settle(batch, CrashError("SIGFPE", alone=False))
    assert answers(innocent) == [3]
    assert answers(guilty) == [ErrorCode.UNAVAILABLE]
    assert child.ran == [[3], [9]]


def test_a_batch_whose_process_is_away_gives_its_permit_back_and_runs_whole_later():
    child = Child()
    child.up = False
    batch = batch_of(1, 2)
    Recovery(child, "m:1").settle(batch, NotRunningError("away"))
    assert answers(batch) == [1, 2]
    assert child.ran == [[1, 2]]
    assert batch.stepped_aside == 1


@pytest.mark.parametrize(
    ("deadline", "word"), [(0.0, ErrorCode.EXPIRED), (5.0, ErrorCode.UNAVAILABLE)]
)
def test_nobody_waits_for_ever_for_a_process_that_does_not_come_back(deadline, word):
    child = Child(comes_back=False)
    child.up = False
    batch = batch_of(1, 2)
    batch.deadline = deadline
    Recovery(child, "m:1").settle(batch, NotRunningError("away"))
    assert answers(batch) == [word, word]


def test_a_process_that_keeps_dying_by_itself_is_not_waited_for_without_end():
    class Dying(Child):
        def _run(self, x, alone):
            self.ran.append(x)
            raise CrashError("SIGKILL", alone=False)

    child = Dying()
    batch = batch_of(1)
    Recovery(child, "m:1").settle(batch, CrashError("SIGKILL", alone=False))
    assert answers(batch) == [ErrorCode.UNAVAILABLE]
    assert len(child.ran) == 3


def test_after_the_limit_of_a_run_members_run_once_more_each_alone():
    ran = []

    def run(x):
        ran.append(x.tolist())
        if 9 in x:
            raise RunLimitError(2.0)
        return [x]

    batch = batch_of(1, 9, 3, 4, 5)
    Recovery(Function(run), "m:1").settle(batch, RunLimitError(2.0))
    assert answers(batch) == [1, ErrorCode.INTERNAL, 3, 4, 5]
    assert batch.members[1].error[1] == "the model ran longer than its limit of 2 s"
    assert ran == [[1], [9], [3], [4], [5]]


def test_a_part_that_failed_holds_no_permit_while_the_next_one_runs():
    held = []

    def run(x):
        held.append([part.stepped_aside for part in parts])
        raise RunLimitError(1.0)

    parts = []

    class Noted(Batch):
        def split(self):
            halves = super().split()
            if halves is not None:
                halves = tuple(Noted(half.members) for half in halves)
                parts.extend(halves)
            return halves

    batch = Noted(batch_of(1, 2).members)
    Recovery(Function(run), "m:1").settle(batch, RunLimitError(1.0))
    assert held == [[0, 0], [1, 0]]


def left(batch):
    for member in batch.members:
        member.left = True
    return batch


@pytest.mark.parametrize(
    "error",
    [RunStoppedError(), CrashError("SIGKILL", alone=False), NotRunningError("away")],
    ids=lambda error: type(error).__name__,
)
def test_fault_106_a_run_that_was_ended_since_nobody_waits_is_nobodys_failure(error):
    child = Child(comes_back=False)
    batch = left(batch_of(1, 2))
    Recovery(child, "m:1").settle(batch, error)
    assert answers(batch) == ["abandoned", "abandoned"]
    assert child.ran == []


def test_a_run_that_fails_by_itself_is_a_failure_whoever_waits():
    batch = left(batch_of(1))
    Recovery(Child(), "m:1").settle(batch, RuntimeError("the model's"))
    assert answers(batch) == [ErrorCode.INTERNAL]


def test_a_run_ended_instead_of_the_one_before_is_run_again():
    child = Child()
    batch = batch_of(1, 2)
    Recovery(child, "m:1").settle(batch, RunStoppedError())
    assert answers(batch) == [1, 2]


def test_fault_106_runs_end_whose_last_caller_is_gone_and_no_other_does():
    running, go_on = threading.Barrier(3), threading.Event()

    def run(x):
        running.wait(30)
        assert go_on.wait(30)
        return [x]

    runner = Function(run)
    runs = Runs(runner)
    batches = [batch_of(1), left(batch_of(2))]
    batches[0].members.append(Request(np.array([3])))
    batches[0].members[0].left = True
    threads = [threading.Thread(target=runs.run, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    running.wait(30)
    assert runs.end_abandoned()
    # Its process must not end, since the other run in it is waited for.
    assert runner.stopped == [(threads[1].ident, False)]
    left(batches[0])
    assert runs.end_abandoned()
    assert sorted(runner.stopped[1:]) == sorted((thread.ident, True) for thread in threads)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert not runs.end_abandoned()
