"""The seam: what Python pulls from the Rust core.

The core never calls Python.
Every method that waits does so without the GIL.
An argument whose default is ``...`` may be left out: it is empty then.
Error words are those of ``serving.errors.ErrorCode``.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, final

import numpy as np

__all__ = [
    "CODES",
    "DEVELOPMENT_BUILD",
    "OUTCOMES",
    "PROTOCOLS",
    "ROUTES",
    "Batch",
    "Call",
    "Computing",
    "Constraint",
    "Figures",
    "Histograms",
    "OnnxGraph",
    "PackedTexts",
    "Queue",
    "Route",
    "Sample",
    "Schema",
    "Server",
    "Span",
    "SpanEncoder",
    "Stats",
    "TensorSpec",
    "Texts",
    "TraceCount",
    "__version__",
    "check_alias",
    "check_model_length",
    "check_model_name",
    "count_messages",
    "decode_model_name",
    "descriptors",
    "is_own_host",
    "json_lines",
    "masked_crc32c",
    "nearest",
    "note_run",
    "onnx_fields",
    "onnx_file",
    "onnx_graph",
    "onnx_interface",
    "parse_version",
    "shown",
    "take_short_turns",
    "tfrecords",
    "unavailable_model",
    "unknown_model",
    "unknown_version",
    "unready_version",
    "wait_for_departures",
    "wait_for_first_requests",
    "wait_for_left_calls",
    "warmup_records",
]

__version__: Final[str]
DEVELOPMENT_BUILD: Final[bool]
"""Whether the core was built to be worked on: quick to compile, slower to serve."""
PROTOCOLS: Final[tuple[str, ...]]
OUTCOMES: Final[tuple[str, ...]]
"""How a request can end: ``ok``, then the error words."""
ROUTES: Final[tuple[str, ...]]
"""Why a version answers a request: ``default``, ``weight``, ``alias``, ``named``, ``forced``."""
CODES: Final[tuple[tuple[str, ...], ...]]
"""Of each of ``PROTOCOLS``, what it calls each of ``OUTCOMES``: ``OK``, ``404``."""

def take_short_turns() -> None:
    """Let the calling thread, one that serves, get the CPU soon when it wakes (Linux 6.12)."""

@final
class Computing:
    """A context. While any is open, the scheduler looks every millisecond who should have the
    CPU, so that threads which answer get it soon beside what takes milliseconds of it (Linux;
    a process without a ``Server`` has nobody to do it)."""

    def __new__(cls) -> Self: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

def note_run(seconds: float) -> bool:
    """The calling thread has run a model for ``seconds``. Where what it computes for a run is long,
    time after time, threads that answer go before it from now on (Linux); whether it began to
    give way with this run. Threads with short turns that pull batches need not say so."""

def wait_for_departures() -> None:
    """Sleep until a caller has left without its answer since the last time. For one thread."""

def wait_for_left_calls() -> None:
    """Sleep until a call's client has left, or its deadline has passed, without an answer since
    the last time. For one thread."""

def wait_for_first_requests(timeout: float | None = None) -> list[int]:
    """Sleep until queues have got their first request, at most ``timeout`` seconds: the numbers
    that they were to announce, each told once. For one thread."""

def nearest(name: str, known: tuple[str, ...]) -> str | None:
    """The name of ``known`` that differs least from ``name``, if one differs by little.

    ``None`` too for a name over 64 bytes, and where errors took too much time for it."""

def is_own_host(host: str, name: str, address: str, allowed: Sequence[str]) -> bool:
    """Whether ``host``, as in a header, means a server that listens on ``name``, bound as
    ``address``: it is this machine's loopback, what is listened on, or one of ``allowed``.

    Raises ValueError where ``address`` is none."""

def parse_version(text: str) -> int | None:
    """A version from a request: ``None`` where it is empty, else a positive integer.

    Raises ValueError, in words for clients, as do the next four."""

def check_alias(name: str) -> None:
    """Whether a name can stand for a version: 1 to 255 bytes, no number, none of ``/ : @ \\``,
    no control character, no space around it."""

def check_model_length(name: str) -> None:
    """Whether a model's name has a length that one can have: up to 255 bytes."""

def check_model_name(name: str) -> None:
    """Whether a name out of a path or a command is one, and could be no path."""

def decode_model_name(encoded: str) -> str:
    """A name as it came percent-encoded, decoded once and checked."""

def shown(text: str) -> str:
    """A client's word as an error may repeat it: without control characters, and not long."""

def unknown_model(name: str, known: tuple[str, ...]) -> str:
    """What clients are told who name none of ``known``."""

def unavailable_model(name: str, why: str) -> str: ...
def unready_version(name: str, version: int, why: str) -> str: ...
def unknown_version(name: str, version: int, on_disk: str | None, loaded: Sequence[int]) -> str:
    """``on_disk``: why it is there and not loaded, if it is; ``loaded``: ascending."""

def descriptors() -> bytes:
    """The serialized ``google.protobuf.FileDescriptorSet`` of ``protos/``."""

_External: TypeAlias = tuple[str, tuple[tuple[str, str], ...], bool]
_File: TypeAlias = tuple[
    list[_External], set[str], set[str], set[str], bool, int, int | None, list[bytes]
]
_Stated: TypeAlias = tuple[str | None, bool, str, int | None, tuple[int, ...] | None]
_RawConstant: TypeAlias = tuple[
    int, tuple[int, ...] | None, tuple[int, ...], tuple[float, ...] | None
]
_RawNode: TypeAlias = tuple[
    str,
    str,
    list[str],
    list[str],
    str,
    dict[str, int],
    dict[str, float],
    dict[str, str],
    dict[str, _RawConstant],
    dict[str, OnnxGraph],
    dict[str, str],
    dict[str, Texts],
    set[str],
]

def onnx_file(model: bytes) -> _File:
    """The fields of ``serving.execution.onnx_file.OnnxFile``, of a serialized ``ModelProto``.

    Read without the GIL, as are the next three; depth is bounded, and nothing is allocated for
    what a file merely claims. Raises ValueError, the end of a sentence, for what is none."""

def onnx_fields(
    file: int, numbers: Sequence[int], longest: int, most: int
) -> tuple[list[tuple[int, int]], bool, str]:
    """Of an open file, the fields of these numbers that have at most ``longest`` bytes: where
    each begins, and its bytes; whether there were no more than ``most`` fields, all told, and
    all were looked at; and why it is no ONNX file, empty where that is not known.

    Raises OSError."""

def onnx_interface(model: bytes) -> tuple[list[_Stated], list[_Stated]]:
    """The graph's inputs and outputs as it states them, each (name, whether an initializer has
    it too, type as onnxruntime writes it or "", a tensor's element type, its shape with -1 for
    what may vary). Raises ValueError as ``onnx_file``."""

def onnx_graph(
    model: bytes,
) -> tuple[OnnxGraph, dict[tuple[str, str], OnnxGraph], dict[str, int], int]:
    """The fields of ``serving.execution.onnx_nodes.Model``. Raises ValueError as ``onnx_file``."""

_NamedSignature: TypeAlias = tuple[str, str, Sequence[str], Mapping[str, str]]
"""Name, ``classify`` or ``regress``, the inputs that features fill, and its outputs by what they
are: ``classes``, ``scores``, ``value``."""

def warmup_records(
    file: bytes,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    signatures: Sequence[_NamedSignature],
    *,
    max_records: int,
    max_bytes: int,
    max_string_elements: int,
) -> list[dict[str, np.ndarray[Any, Any]] | str]:
    """Of each record of a TFRecord file of ``PredictionLog`` its inputs, held against the model as
    a request's are, or the name of a log that is of a call that there is not.

    Raises ValueError naming the record that is damaged or does not fit, or where it has more than
    ``max_records``, or inputs of more than ``max_bytes`` together."""

def count_messages(data: bytes, layout: Sequence[Mapping[int, int]], most: int) -> int:
    """How many messages and texts a protobuf message holds, however deep; no more than one beyond
    ``most`` are counted, and only those before what is no message. ``layout``: of each kind of
    message the fields that hold messages, by number, and their kinds' places in it; the first one
    is that of the whole. Without the GIL."""

def tfrecords(file: bytes, most: int) -> list[bytes]:
    """The records of a TFRecord file. Raises ValueError naming the one that is damaged, or saying
    that there are more than ``most``. Without the GIL."""

def masked_crc32c(data: bytes) -> int:
    """The checksum of ``data`` as TFRecord files have it. Without the GIL."""

@final
class OnnxGraph:
    """A graph, or a function's body: see ``serving.execution.onnx_nodes.Graph``. Its nodes and
    constants are made when asked for, so that no thread waits long for the GIL."""

    @property
    def sizes(self) -> tuple[int, int]:
        """How many nodes and constants there are."""

    def node(self, at: int) -> _RawNode:
        """The fields of a ``Node``. Raises IndexError."""

    def constant(self, at: int) -> tuple[str, _RawConstant]:
        """Its name, and the fields of a ``Constant``: of those with more than 4096 elements
        (floats: 64) no values, nor of weights kept elsewhere. Raises IndexError."""

    @property
    def defaults(self) -> _RawNode | None:
        """Of a function: its attributes' defaults."""

    @property
    def inputs(self) -> list[str]: ...
    @property
    def outputs(self) -> list[str]: ...
    @property
    def types(self) -> dict[str, int]: ...
    @property
    def opsets(self) -> dict[str, int]: ...
    @property
    def repeated(self) -> set[str]: ...

@final
class Texts:
    """A node's list of texts, kept as it stands in the file."""

    def __len__(self) -> int: ...
    def __contains__(self, text: bytes, /) -> bool: ...

@final
class TensorSpec:
    """One input or output: ``shape`` holds -1 for a dimension that varies."""

    def __new__(
        cls,
        name: str,
        datatype: str,
        shape: Sequence[int],
        optional: bool = False,
        described: Sequence[int] | None = None,
        always_described: bool = False,
        labels: str | None = None,
    ) -> Self:
        """``described``: another shape in which clients may send it, or get it where an input
        came so, or, with ``always_described``, in every answer. It holds as many -1 as
        ``shape``, and as many elements. ``labels``: what an output's elements are called, one a
        line, for requests for classes."""

@final
class Schema:
    """What MLflow declares of a model's inputs, for requests of its scoring protocol.

    ``form``: ``tensors``, ``columns``, or nothing; ``fields``: (name, datatype that values have
    first, shape of a tensor, whether it is required, type in MLflow's words, type of its values
    where they lie in lists, in how many) of each; ``params``: (name, type, whether it is a list).
    ``strict``: other inputs are refused; ``lossy``: values that a cast changes are taken;
    ``terse``: a request that does not fit is told no more than that; ``unusable``: why no request
    can be held against it."""

    def __new__(
        cls,
        form: Literal["", "tensors", "columns"] = "",
        fields: Sequence[tuple[str | None, str, Sequence[int], bool, str, str, int]] = ...,
        params: Sequence[tuple[str, str, bool]] = ...,
        *,
        strict: bool = False,
        lossy: bool = False,
        terse: bool = False,
        unusable: str = "",
    ) -> Self:
        """Raises ValueError for an unknown form or datatype."""

@final
class Constraint:
    """What the values of one feature of requests have to be.

    ``column``: (which, of how many) of a row's values; None: all of the tensor. ``numbers``: its
    values are numbers, else texts. ``refuses``: what is otherwise refuses the request, else it is
    counted. ``required``: no value is missing (NaN, an empty text, an input left out). ``least``,
    ``most``: both allowed; an integer of 64 bits is compared as it is. ``whole``: numbers without a
    fraction. ``values``: the texts allowed. ``least_values``, ``most_values``: of a row."""

    def __new__(
        cls,
        feature: str,
        tensor: str,
        column: tuple[int, int] | None = None,
        *,
        numbers: bool,
        refuses: bool = False,
        required: bool = False,
        least: float | None = None,
        most: float | None = None,
        nan: bool = True,
        infinite: bool = True,
        whole: bool = False,
        values: Sequence[str] | None = None,
        least_values: int | None = None,
        most_values: int | None = None,
    ) -> Self:
        """Raises ValueError for a bound that is NaN."""

@final
class Queue:
    """The bounded line of requests for one slot.

    ``max_rows`` 0 means unbatched: every request runs alone, whatever its shapes.
    Otherwise axis 0 of every input and output counts rows, and no batch of several requests
    has more than ``max_rows``, more than ``max_string_elements`` texts, or inputs of more than
    ``max_batch_bytes`` bytes. A request with more rows is cut into pieces where ``may_cut``
    says so; it runs whole and alone where not, and where its pieces do not fit together.
    One whose inputs differ in their first dimensions runs alone.

    ``left_out``: the model's outputs that no tensor can carry, and why: a request for one
    is refused with that. ``level_policies``: priority level, the time-out (microseconds) of its
    requests that bring none, and how many of them may wait; 0: none, and no bound of its own.
    ``signatures``: those for examples beside the model's own; one that names what is not there
    is a ValueError.
    """

    def __new__(
        cls,
        *,
        model: str,
        version: int,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        max_rows: int = 0,
        delay_us: int = 0,
        max_queue_requests: int = 1024,
        max_queue_rows: int = 65536,
        max_queue_bytes: int = 268435456,
        priority_levels: int = 0,
        default_priority: int = 0,
        default_timeout_us: int = 0,
        max_string_elements: int = 1048576,
        max_batch_bytes: int = 67108864,
        stats: Stats | None = None,
        preferred_rows: Sequence[int] = ...,
        may_cut: bool = True,
        left_out: Sequence[tuple[str, str]] = ...,
        level_policies: Sequence[tuple[int, int, int]] = ...,
        schema: Schema | None = None,
        signatures: Sequence[_NamedSignature] = ...,
    ) -> Self: ...
    def announce_first(self, number: int) -> None:
        """Have ``wait_for_first_requests`` tell ``number`` once the first request is queued, at
        once where one is."""

    def next_batch(self) -> Batch | None:
        """Wait for work and the permit to run it; ``None`` once closed and empty."""

    def batch_from_now_on(
        self, max_rows: int, preferred_rows: Sequence[int] = ..., may_cut: bool = True
    ) -> bool:
        """Batch in a queue made with ``max_rows`` 0; False where it batches already.
        Requests that are in line still run alone."""

    def expect_runs(self, seconds: float) -> None:
        """What a run is expected to take, until real ones have told: so long short ones wait for
        their permit behind long ones, some times over.

        Raises ValueError for a negative number, and for one that is no time."""

    def sample(self, rate: float) -> None:
        """Which share of the requests from now on, 0 to 1, goes to ``Server.samples``.

        Raises ValueError for any other rate."""

    def show_only(self, shown: Sequence[str] | None) -> None:
        """From now on values of these tensors alone may be logged, None: of all. What a client is
        told of another tensor's value goes into events, traces and samples without it."""

    def sample_for_statistics(self, per_second: float) -> None:
        """Of how many requests a second, at most, a sample is taken for statistics: what was saved
        up for a second at once, then evenly; 0 none, infinity all. Those that ``Server.observe``
        gives all versions together hold besides.

        Raises ValueError for a negative number."""

    def shadow(self) -> dict[str, Any] | None:
        """What became of the copies that the version got as a shadow; ``None`` before the first.

        ``copies``; of these ``dropped`` (reason -> count), ``failed`` (error word -> count),
        ``uncompared`` (reason -> count), ``compared``, and of those ``different``. ``outputs``: of
        each output in the order of the signature ``name``, ``datatype``, the answers ``compared``
        and those ``different``, of which as ``missing`` in one of them, with other ``datatypes`` or
        ``shapes``; ``elements`` compared, ``different_elements``, of which ``nonfinite`` in one
        answer only; ``max_difference`` and ``mean_difference`` of finite numbers, ``None`` where
        there were none; ``rows`` along the last axis of scores, and ``classes``: those whose
        largest element is another one."""

    def shadow_examples(self) -> list[tuple[dict[str, Any], Sample, Sample]]:
        """The last requests whose two answers differ, the newest first: what is known of each
        (``at``, ``id``, ``request_id``, ``version`` that answered, ``too_large`` for its tensors to
        be kept, ``outputs``: name -> how it differs), the answer given with its inputs, and the
        shadow's."""

    def labels(self, output: str, elements: Sequence[int]) -> list[str | None]:
        """What these elements of an output's last axis are called, by the file of labels that the
        version was loaded with; ``None`` for one without a name, and where there is no such
        output.

        Raises OverflowError for a negative number."""

    def check(self, constraints: Sequence[Constraint]) -> None:
        """Hold every request against these from now on, before it is queued; none: against
        nothing. A feature that was there before goes on being counted; of those that were, the last
        1,024 with anomalies are counted still.

        Raises ValueError for one that does not fit the model's inputs; all stay as they were."""

    def anomalies(self) -> list[tuple[str, str, bool, int]]:
        """(feature, kind, whether it refused them, requests that had it) since the first
        ``check``."""

    def close(self) -> None:
        """Refuse new requests; let the queued ones out. Copies are dropped."""

    def abort(self, word: str, message: str) -> int:
        """Close and answer everything still queued with an error; how many there were."""

    def depth(self) -> dict[str, int]:
        """``requests``, ``rows``, ``bytes`` queued and ``executing`` batches."""

@final
class Batch:
    """What one run takes from a queue. Dropped unanswered, it fails its requests."""

    @property
    def inputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Input name -> array, the inputs left out absent. BF16 comes as uint16,
        BYTES as object arrays of str. Read-only."""

    @property
    def packed_inputs(self) -> dict[str, np.ndarray[Any, Any] | PackedTexts]:
        """As ``inputs``, but BYTES as they travel: no object is made for a text."""

    @property
    def weight(self) -> tuple[int, int, int]:
        """What it brings for its run to hold: texts, of the inputs or, by the signature, of the
        outputs, whichever are more; bytes of the inputs that are texts; bytes of all inputs."""

    @property
    def rows(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def outputs(self) -> list[str]:
        """The union of the outputs asked for, in the model's order."""

    @property
    def deadline(self) -> float | None:
        """Seconds from now until the latest member's deadline; ``None`` without one."""

    @property
    def of_copies(self) -> bool:
        """Whether it is of copies for a shadow: nobody waits for them, and they are run once."""

    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more: every caller has left or is late. False once
        it is answered, and while its inputs are asked for."""

    def abandon(self) -> None:
        """Its run was ended because it is abandoned: let it go, counted as no failure."""

    def split(self) -> tuple[Batch, Batch] | None:
        """Halves, to run a failed batch again; ``None`` when it holds one request.
        Members that expired or left meanwhile are answered and dropped, so a half
        may be empty (``requests == 0``). Both are where the batch was one piece of a request
        that was cut: that one waits in the queue to run again, whole."""

    def step_aside(self) -> None:
        """Give the permit back, to wait for something else than a CPU; asking for ``inputs``
        takes it again. Halves of a batch that stepped aside have each their own."""

    def complete(
        self,
        outputs: Sequence[np.ndarray[Any, Any] | PackedTexts | tuple[int, str, tuple[int, ...]]],
    ) -> None:
        """Answer every member. One entry per name of ``outputs``: an array (object
        arrays hold str or bytes), packed texts, or (address, datatype, shape) of memory that
        stays valid during the call.

        Raises ValueError, answering nothing, when an output's rows or datatype do
        not fit; the batch can then be split or failed."""

    def fail(self, word: str, message: str, detail: str = "", *, harmful: bool = False) -> None:
        """Answer every member with an error; ``detail`` goes to the log only. ``harmful``: clients
        are told not to send the same again. ``message`` quotes no value of a tensor; ``detail``
        may, and is in no log of a version that redacts any."""

@final
class PackedTexts:
    """A tensor of texts, checked: each behind its length in four bytes, little-endian, all of
    them UTF-8, as many as its shape says, and nothing behind them. It never changes."""

    def __new__(cls, data: np.ndarray[Any, np.dtype[np.uint8]], shape: Sequence[int]) -> Self:
        """Of a copy of ``data``, (bytes,), made and checked without the GIL.

        Raises ValueError for what is no such tensor; MemoryError."""

    @staticmethod
    def of(array: np.ndarray[Any, Any]) -> PackedTexts:
        """Of an array of objects, str or UTF-8 bytes. Raises TypeError, ValueError, MemoryError."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def data(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """All its bytes, (bytes,), not copied. Read-only."""

    def objects(self) -> np.ndarray[Any, Any]:
        """An array of its shape with an str for each text."""

@final
class Stats:
    """Counters of one (model, version), kept across reloads of the same version."""

    def __new__(cls, model: str, version: int) -> Self: ...
    @property
    def asked(self) -> bool:
        """Whether any request has come; once so, always so."""

    def snapshot(self) -> dict[str, Any]:
        """Triton's ``ModelStatistics`` as a dict (``triton.md`` 2.4)."""

@final
class Figures:
    """What versions did until one moment: a row for each of V versions, in order of model and
    version. Counters count since the process began (a version that goes and comes back goes on
    counting), and never go back. Each array is made when it is asked for, and is the caller's."""

    @property
    def versions(self) -> list[tuple[str, int]]:
        """Row -> (model, version); ``("", 0)``: requests whose names nobody has."""

    @property
    def outcomes(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Requests answered: (V, ``PROTOCOLS``, ``OUTCOMES``)."""

    @property
    def fell_back(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Requests that a version failed and the default version was asked for, by what failed
        them: (V, ``OUTCOMES``). None of the version's answers."""

    @property
    def stood_in(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Requests that a version was asked for in another's place: (V, ``OUTCOMES``). Part of its
        answers."""

    @property
    def fine_times(self) -> Histograms:
        """How long answers took while ``count_outputs`` said so, in seconds, over sixteen buckets
        to each power of two from 2 ** -15 to 2 ** 6: first all, then those of them that another
        version had failed. Two series."""

    @property
    def classes(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Rows answered while ``count_outputs`` said so, by class: the place of the largest score
        of an output that has 2 to 256 along its last axis, or an integer label's remainder by
        256: (V, 256)."""

    @property
    def scores(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Elements of the first floating output, of each answer 1024 at most, by size: (V, 323).
        Four buckets to each power of two from 2 ** -20 to 2 ** 20, for either sign, ascending."""

    @property
    def squares(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The answers' numbers of observations squared and summed, of ``classes`` and of
        ``scores``: (V, 2)."""

    @property
    def routes(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Requests answered, well or badly, by why they came to the version: (V, ``ROUTES``)."""

    @property
    def counts(self) -> dict[str, np.ndarray[Any, np.dtype[np.uint64]]]:
        """Name -> (V,). Counters: ``rows`` answered, ``runs`` of the model that succeeded,
        ``runs_failed``, ``runs_abandoned``; ``expired`` and ``cancelled`` requests that were
        dropped from the queue; ``fell_back``: all of ``Figures.fell_back``; ``inspected`` answers
        with floating outputs, and ``nonfinite``: those of them with NaN or infinity; of copies that
        the version got as a shadow ``shadow_copies``, ``shadow_failed``, ``shadow_compared`` and
        ``shadow_different``. Gauges:
        ``queue_requests``, ``queue_rows`` and ``queue_bytes`` that wait, ``in_flight_requests``,
        ``executing_batches``."""

    @property
    def histograms(self) -> dict[str, Histograms]:
        """``total``, from a request's head to its answer, in seconds, one series for each of
        ``PROTOCOLS``; ``queue`` and ``compute`` (one run) in seconds and ``batch`` (one run)
        in rows, one series each."""

@final
class Histograms:
    """One kind of observation: B bounds, and S series of each of V versions."""

    @property
    def bounds(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(B,), ascending."""

    @property
    def counts(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Observations at or below each bound, then all of them: (V, S, B + 1)."""

    @property
    def sums(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """What was observed, summed up, in the unit of the bounds: (V, S)."""

@final
class Route:
    """One model's place in the table."""

    def __new__(
        cls,
        model: str,
        versions: Mapping[int, Queue],
        default: int | None,
        unavailable: Mapping[int, str] = ...,
        reason: str | None = None,
        unloaded: Sequence[tuple[str, Sequence[int]]] = ...,
        *,
        aliases: Mapping[str, int] = ...,
        weights: Sequence[tuple[int, int]] = ...,
        sticky: str = "",
        shadows: Sequence[tuple[int, float]] = ...,
        beside: Mapping[int, Queue] = ...,
    ) -> Self:
        """``unavailable``: version -> why it is known but not answering (503).
        ``reason``: why the model answers nothing when ``default`` is ``None``.
        ``unloaded``: versions on disk that are not loaded, with the reason (404).
        ``aliases``: other names for versions (``check_alias``). ``weights``: (version, weight) of
        those that share the requests that name no version; where none weighs anything
        ``default`` has them all, and always what falls to one that does not answer.
        ``sticky``: the name of a header, a key of metadata or a request's parameter: who sends the
        same value again gets the same version while the weights stay, "": nobody is kept.
        ``shadows``: (version, rate from 0 to 1) of those that are to get copies; ``beside``: the
        queues of those among them that are none of ``versions``.

        Raises ValueError for a name that no alias can have, or another rate."""

@final
class Call:
    """A request that is not plain inference. ``respond`` once, from any thread.

    Dropped unanswered, the client gets INTERNAL / 500."""

    @property
    def protocol(self) -> Literal["grpc", "http"]: ...
    @property
    def service(self) -> str:
        """gRPC: the full name of the RPC's service; HTTP: ''."""

    @property
    def method(self) -> str:
        """gRPC: the RPC's name (``ModelMetadata``); HTTP: the verb."""

    @property
    def path(self) -> str:
        """HTTP: the path as sent, percent-encoding kept, query removed; gRPC: ''."""

    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def body(self) -> bytes:
        """gRPC: the message, decompressed, without its frame; HTTP: the body, decompressed."""

    @property
    def request_id(self) -> str | None: ...
    def hold(self, more: int) -> bool:
        """Count ``more`` bytes of the budget as held by this call until it is let go; False, and
        nothing is counted, where there is no room for them."""

    def is_awaited(self) -> bool:
        """Whether it is unanswered, its client has not left, and its deadline has not passed."""

    def respond(self, body: bytes) -> bool:
        """gRPC: ``body`` is the message; HTTP: JSON. False when the client had left."""

    def fail(self, word: str, message: str, detail: str = "") -> bool: ...

@final
class Sample:
    """A finished request that was whole and fitted its model, with its tensors.

    Made by ``Server.samples``. The tensors are copied to Python when asked for."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def size(self) -> int:
        """Bytes of all tensors together."""

    @property
    def drawn(self) -> bool:
        """Whether it is of the share that ``Queue.sample`` set."""

    @property
    def for_anomaly(self) -> bool:
        """Whether it was kept since it is not as its model's schema says, whatever ``Queue.sample``
        set: at most one a second of a version of which any are sampled."""

    @property
    def for_statistics(self) -> bool:
        """Whether it is of those that ``Queue.sample_for_statistics`` allows."""

    @property
    def route(self) -> str:
        """Why this version answered: one of ``ROUTES``."""

    @property
    def protocol(self) -> Literal["grpc", "http"]: ...
    @property
    def id(self) -> str:
        """The request's own id; '' without one."""

    @property
    def request_id(self) -> str: ...
    @property
    def at(self) -> float:
        """Seconds since the epoch when the request's head came."""

    @property
    def total_s(self) -> float: ...
    @property
    def queue_s(self) -> float: ...
    @property
    def compute_s(self) -> float:
        """What the runs of its batches took together."""

    @property
    def word(self) -> str:
        """The error word; '' when it was answered well."""

    @property
    def message(self) -> str:
        """What the client was told of the error; '' without one."""

    @property
    def anomaly(self) -> tuple[str, str, str] | None:
        """The input that is not as the model's schema says, where the request was answered all the
        same; in what way, in words; and these without the value that came."""

    @property
    def inputs(self) -> list[tuple[str, str, tuple[int, ...], bytes]]:
        """(name, datatype, shape, little-endian row-major bytes; BYTES elements
        length-prefixed), in the model's order, the inputs left out absent."""

    @property
    def outputs(self) -> list[tuple[str, str, tuple[int, ...], bytes]]:
        """As ``inputs``, in the order asked for; empty when it failed."""

    @property
    def parameters(self) -> dict[str, int]:
        """``priority`` and ``timeout`` (microseconds), where the request sets them."""

def json_lines(
    samples: Sequence[Sample], shown: Sequence[Sequence[str] | None], most: int
) -> tuple[bytes, int]:
    """The first samples as lines of the request log, and how many they are: as many as
    ``most`` bytes hold, the first one in any case. Written without the GIL.

    ``shown``: for each sample the tensors that go with their values, ``None`` for all.
    Raises ValueError unless there are as many as samples."""

@final
class Span:
    """A finished span, made by ``Server.spans``; ``SpanEncoder`` says what it holds.

    ``request`` (its kind: server) has the attributes model, version, protocol, method, rows,
    status and request_id, and is linked to its batch; its child is ``queue``. ``batch`` is a
    trace of its own, linked to its requests, with model, version, rows and requests; its child
    is ``run``. What was not known is left out."""

_Door: TypeAlias = tuple[bytes, bytes, str, str, Sequence[int]]

@final
class SpanEncoder:
    """Spans to the bytes of OTLP messages, by what attributes are called.

    ``prefix``: before the core's names. ``message``: an error that is not the server's; ``error``:
    an error's word. ``doors``: of each of ``PROTOCOLS`` (serialized attributes that all its
    requests have before their method and code, those after, what method and code are called,
    the codes of errors that are the server's, which are the status of a span).
    """

    def __new__(
        cls, *, prefix: str, message: str, error: str, doors: Mapping[str, _Door]
    ) -> Self: ...
    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as field ``spans`` of OTLP's ``ScopeSpans``, in their order; texts of more
        than 1024 characters are cut. Works without the GIL."""

@final
class TraceCount:
    """How many requests may yet be drawn for traces; below zero, as many as come. Rules may share
    one."""

    def __new__(cls, count: int) -> Self: ...
    @property
    def left(self) -> int: ...

@final
class Server:
    def __new__(cls, config: Mapping[str, object]) -> Self:
        """Bind the sockets. Keys: see ``serving.settings.ServerSettings.core()``.

        Raises OSError when an address is taken, ValueError for an unknown key."""

    @property
    def http_address(self) -> tuple[str, int]: ...
    @property
    def grpc_address(self) -> tuple[str, int]: ...
    def start(self) -> None: ...
    def publish(self, routes: Sequence[Route], gone: Sequence[str] = ...) -> None:
        """Swap the route table for one with these models' routes, and none of the models that are
        ``gone``; the rest is as before. One pointer."""

    def set_ready(self, ready: bool) -> None: ...
    def next_call(self) -> Call | None:
        """Wait for a call; ``None`` once the server has stopped."""

    def events(self, timeout: float) -> list[dict[str, Any]] | None:
        """Wait up to ``timeout`` seconds for log records from the bounded, lossy
        ring: ``{"event", "level", "at", ...}``, texts that say nothing left out. ``None``
        once the server has stopped.

        ``request_failed``: ``request_id``, ``protocol``, ``model``, ``word``, ``message``,
        ``detail``. ``request`` (the access log, which wakes nobody and so may come up to
        ``timeout`` late): ``request_id``, ``protocol``, ``method``, ``path`` (HTTP),
        ``model``, ``version``, ``route`` (why that one), ``status`` ("ok" or the error word),
        ``code`` (the door's), ``total_ms``, ``queue_ms``, ``compute_ms``, ``rows``, ``bytes_in``,
        ``bytes_out``, ``trace_id`` (when traced). Of what is not inference (calls, health) only
        those that it has: neither model nor rows, queue or compute."""

    def register_region(
        self, name: str, key: str, offset: int, byte_size: int
    ) -> tuple[str, str, str] | None:
        """Let requests use ``byte_size`` bytes from ``offset`` on of the shared memory object
        ``key`` as ``name``. None, or the refusal: its error word, its words for clients, and the
        original for the log."""

    def unregister_region(self, name: str) -> None:
        """Forget a region, or all of them where ``name`` is empty. What requests use is closed
        after them."""

    def regions(self) -> list[tuple[str, str, int, int]]:
        """Name, key, offset and size (bytes) of each, by name."""

    def set_pages(self, pages: Sequence[tuple[str, str, bytes]]) -> None:
        """The files for browsers: path, content type, content. Once; kept as long as the server.

        Raises ValueError for a second time, or what is no content type."""

    def set_admin_port(self, port: int) -> None:
        """So that whoever looks for it on another port is told."""

    def observe(
        self,
        *,
        trace_rate: float,
        trace_parents: bool,
        span_buffer: int,
        sample_buffer_bytes: int,
        sample_max_bytes: int,
        access_rate: float,
        sample_replayed: bool = False,
        statistics_samples: float = 0.0,
        statistics_values: float = 0.0,
    ) -> None:
        """What is noted of single requests from now on; nothing until the first call.

        ``trace_rate``, ``access_rate``: shares of all requests, 0 to 1.
        ``trace_parents``: a caller's sampled ``traceparent`` alone starts a trace.
        ``sample_replayed``: requests with the header ``serving-replay`` are sampled, too.
        ``span_buffer``: spans that may wait for ``spans``; 0 turns traces off.
        ``sample_buffer_bytes``: bytes of samples that may wait for ``samples``; 0 takes
        none. ``sample_max_bytes``: inputs and outputs of one sample.
        ``statistics_samples``: samples for statistics a second, of all versions together;
        ``statistics_values``: elements of their tensors, of which a text counts for sixteen. One
        that has more than are left is taken, and paid off before the next.

        Raises ValueError for a rate outside 0 to 1, and for negative numbers."""

    def trace(
        self,
        all_models: tuple[float, bool, TraceCount],
        models: Mapping[str, tuple[float, bool, TraceCount]],
    ) -> None:
        """Which requests are traced from the next one on; until then as ``observe`` said.

        A rule: the share of requests that is drawn, 0 to 1, as long as the count has some left;
        whether a caller's sampled ``traceparent`` alone starts a trace, which is not counted. A
        request whose model is among ``models`` follows that rule alone.

        Raises ValueError for a rate outside 0 to 1."""

    def spans(self, timeout: float) -> list[Span] | None:
        """Finished spans, at most 64: at once where so many, or half the buffer, wait;
        else what there is after ``timeout`` seconds. ``None`` once the server has
        stopped and none is left."""

    def samples(self, timeout: float) -> list[Sample] | None:
        """Sampled requests, as ``spans`` waits for spans; see ``Queue.sample`` and
        ``Queue.sample_for_statistics``."""

    def shadows(
        self,
        *,
        copies: int,
        held_bytes: int,
        timeout_s: float,
        absolute: float,
        relative: float,
        examples: int,
        example_bytes: int,
        event_every_s: float,
    ) -> None:
        """What bounds copies of requests and their comparison; see ``ShadowSettings``."""

    def metrics(self) -> bytes:
        """The core's families in Prometheus text format 0.0.4."""

    def figures(self, select: Sequence[tuple[str, int]] | None = None) -> Figures:
        """What the routes' versions did until now. ``select``: (model, version), of those that
        there are; ``None`` for all, and for what named none of them."""

    def count_outputs(
        self,
        nonfinite: Sequence[tuple[str, int]],
        distributions: Sequence[tuple[str, int]] = ...,
        times: Sequence[tuple[str, int]] = ...,
    ) -> None:
        """From now on count of these versions, (model, version), which answers hold NaN or
        infinity, of the second ones also how their classes and scores are distributed, and of
        them and the last ones how long requests take (``Figures.fine_times``); of those that are
        not named nothing. What was counted stays."""

    def counters(self) -> dict[str, int]:
        """``connections``, ``connections_total``, ``connections_refused``, ``in_flight``,
        ``buffered_bytes``, ``buffered_bytes_limit``, ``window_bytes``, ``window_bytes_limit``,
        ``events_dropped``, ``permits_held``, ``spans_dropped``, ``samples_dropped``,
        ``samples_too_large``, ``statistics_too_large``."""

    def drain(self, timeout: float) -> bool:
        """Close the listeners, let connections finish; True when nothing is in flight."""

    def stop(self) -> None: ...
