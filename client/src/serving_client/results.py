"""What calls give: frozen facts, and the outputs of an inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


class InferResult(Mapping[str, Array]):
    """Outputs by name: ``result["label"]``. Each is an array of the caller's own, which may be
    changed. ``version``: the one that answered."""

    __slots__ = ("_outputs", "datatypes", "id", "model", "parameters", "version")

    def __init__(
        self,
        model: str,
        version: str,
        id: str,  # noqa: A002 - the protocol's own word
        parameters: dict[str, Any],
        outputs: dict[str, Array],
        datatypes: dict[str, str],
    ) -> None:
        self.model, self.version, self.id = model, version, id
        self.parameters = parameters
        # The protocol's own names (``FP32``, ...), by output.
        self.datatypes = datatypes
        self._outputs = outputs

    def __getitem__(self, name: str) -> Array:
        try:
            return self._outputs[name]
        except KeyError:
            known = ", ".join(self._outputs) or "none"
            raise KeyError(f"no output '{name}' was answered (those are: {known})") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    # Mappings are compared by their values; those of arrays are arrays again, without a truth.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{name}: {self.datatypes[name]}{list(array.shape)}"
            for name, array in self._outputs.items()
        )
        return f"InferResult({self.model} {self.version}: {shapes})"


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """``shape``: -1 for a dimension that may vary."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """``versions``: those that may be asked for."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelState:
    """A version on the server; ``state``: ``READY``, ``LOADING``, ``UNAVAILABLE``, ...; ``reason``:
    why it is in no other."""

    name: str
    version: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Duration:
    """``count`` times, ``ns`` nanoseconds in all."""

    count: int
    ns: int


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """Of one version since it was loaded. ``inference_count``: rows; ``execution_count``: runs;
    ``last_inference``: milliseconds since 1970, 0 for never."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    # Runs by the rows of their batch.
    batches: dict[int, Duration]


# -- from the JSON of the protocol; gRPC's messages are brought into the same form, in which
# -- integers are text ---------------------------------------------------------


def read_model_metadata(said: Mapping[str, Any]) -> ModelMetadata:
    return ModelMetadata(
        name=said["name"],
        versions=tuple(said.get("versions") or ()),
        platform=said.get("platform", ""),
        inputs=tuple(map(_read_tensor, said.get("inputs") or ())),
        outputs=tuple(map(_read_tensor, said.get("outputs") or ())),
        properties=dict(said.get("properties") or {}),
    )


def _read_tensor(said: Mapping[str, Any]) -> TensorMetadata:
    return TensorMetadata(said["name"], said["datatype"], tuple(map(int, said.get("shape") or ())))


def read_server_metadata(said: Mapping[str, Any]) -> ServerMetadata:
    return ServerMetadata(
        said.get("name", ""), said.get("version", ""), tuple(said.get("extensions") or ())
    )


def read_model_state(said: Mapping[str, Any]) -> ModelState:
    return ModelState(
        said["name"], said.get("version", ""), said.get("state", ""), said.get("reason", "")
    )


def read_statistics(said: Mapping[str, Any]) -> ModelStatistics:
    times = said.get("inference_stats") or {}
    return ModelStatistics(
        name=said["name"],
        version=said.get("version", ""),
        last_inference=int(said.get("last_inference", 0)),
        inference_count=int(said.get("inference_count", 0)),
        execution_count=int(said.get("execution_count", 0)),
        success=_read_duration(times.get("success")),
        fail=_read_duration(times.get("fail")),
        queue=_read_duration(times.get("queue")),
        compute_input=_read_duration(times.get("compute_input")),
        compute_infer=_read_duration(times.get("compute_infer")),
        compute_output=_read_duration(times.get("compute_output")),
        batches={
            int(batch["batch_size"]): _read_duration(batch.get("compute_infer"))
            for batch in said.get("batch_stats") or ()
        },
    )


def _read_duration(said: Mapping[str, Any] | None) -> Duration:
    said = said or {}
    return Duration(int(said.get("count", 0)), int(said.get("ns", 0)))
