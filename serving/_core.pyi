"""The seam: what Python pulls from the Rust core.

The core never calls Python. Every method that waits does so without the GIL.
Error words are those of ``serving.errors.Word``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np

__version__: Final[str]

def descriptors() -> bytes:
    """The serialized ``google.protobuf.FileDescriptorSet`` of ``protos/``."""

class TensorSpec:
    """One input or output: ``shape`` holds -1 for a dimension that varies."""

    def __init__(
        self, name: str, datatype: str, shape: Sequence[int], optional: bool = False
    ) -> None: ...

class Queue:
    """The bounded line of requests for one slot.

    ``max_rows`` 0 means unbatched: every request runs alone, whatever its shapes.
    Otherwise axis 0 of every input and output counts rows, and no batch has more
    than ``max_rows``.
    """

    def __init__(
        self,
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
        stats: Stats | None = None,
        use_permit: bool = True,
        preferred_rows: Sequence[int] = (),
    ) -> None: ...
    def next_batch(self) -> Batch | None:
        """Wait for work and the permit to run it; ``None`` once closed and empty."""

    def batch_from_now_on(self, max_rows: int, preferred_rows: Sequence[int] = ()) -> bool:
        """Batch in a queue made with ``max_rows`` 0; False where it batches already.
        Requests that are in line still run alone."""

    def close(self) -> None:
        """Refuse new requests; let the queued ones out."""

    def abort(self, word: str, message: str) -> int:
        """Close and answer everything still queued with an error; how many there were."""

    def depth(self) -> dict[str, int]:
        """``requests``, ``rows``, ``bytes`` queued and ``executing`` batches."""

    @property
    def stats(self) -> Stats: ...

class Batch:
    """What one run takes from a queue. Dropped unanswered, it fails its requests."""

    @property
    def inputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Input name -> array, the inputs left out absent. BF16 comes as uint16,
        BYTES as object arrays of str. Read-only."""

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

    def split(self) -> tuple[Batch, Batch] | None:
        """Halves, to run a failed batch again; ``None`` when it holds one request.
        Members that expired or left meanwhile are answered and dropped, so a half
        may be empty (``requests == 0``)."""

    def step_aside(self) -> None:
        """Give the permit back, to wait for something else than a CPU; asking for ``inputs``
        takes it again. Halves of a batch that stepped aside have each their own."""

    def complete(
        self, outputs: Sequence[np.ndarray[Any, Any] | tuple[int, str, tuple[int, ...]]]
    ) -> None:
        """Answer every member. One entry per name of ``outputs``: an array (object
        arrays hold str or bytes), or (address, datatype, shape) of memory that
        stays valid during the call.

        Raises ValueError, answering nothing, when an output's rows or datatype do
        not fit; the batch can then be split or failed."""

    def fail(self, word: str, message: str, detail: str = "") -> None:
        """Answer every member with an error; ``detail`` goes to the log only."""

class Stats:
    """Counters of one (model, version), kept across reloads of the same version."""

    def __init__(self, model: str, version: int) -> None: ...
    def snapshot(self) -> dict[str, Any]:
        """Triton's ``ModelStatistics`` as a dict (``triton.md`` 2.4)."""

class Route:
    """One model's place in the table."""

    def __init__(
        self,
        model: str,
        versions: Mapping[int, Queue],
        default: int | None,
        unavailable: Mapping[int, str] = ...,
        reason: str | None = None,
    ) -> None:
        """``unavailable``: version -> why it is known but not answering (503).
        ``reason``: why the model answers nothing when ``default`` is ``None``."""

class Call:
    """A request that is not plain inference. ``respond`` once, from any thread.

    Dropped unanswered, the client gets INTERNAL / 500."""

    @property
    def protocol(self) -> Literal["grpc", "http"]: ...
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
    def respond(
        self, body: bytes, *, status: int = 200, content_type: str = "application/json"
    ) -> bool:
        """gRPC: ``body`` is the message (status and content_type unused). False when
        the client had left."""

    def fail(self, word: str, message: str, detail: str = "") -> bool: ...

class Server:
    def __init__(self, config: Mapping[str, object]) -> None:
        """Bind the sockets. Keys: see ``serving.settings.ServerSettings.core()``.

        Raises OSError when an address is taken, ValueError for an unknown key."""

    @property
    def http_address(self) -> tuple[str, int]: ...
    @property
    def grpc_address(self) -> tuple[str, int]: ...
    def start(self) -> None: ...
    def publish(self, routes: Sequence[Route]) -> None:
        """Swap the route table: one pointer."""

    def set_ready(self, ready: bool) -> None: ...
    def next_call(self) -> Call | None:
        """Wait for a call; ``None`` once the server has stopped."""

    def events(self, timeout: float) -> list[dict[str, Any]] | None:
        """Wait up to ``timeout`` seconds for log records from the bounded, lossy
        ring: ``{"event", "level", "request_id", "model", "version", "word",
        "message", "detail", ...}``. ``None`` once the server has stopped."""

    def metrics(self) -> bytes:
        """The core's families in Prometheus text format 0.0.4."""

    def counters(self) -> dict[str, int]:
        """``connections``, ``in_flight``, ``buffered_bytes``, ``events_dropped``, ..."""

    def drain(self, timeout: float) -> bool:
        """Close the listeners, let connections finish; True when nothing is in flight."""

    def stop(self) -> None: ...
