"""Triton's extensions: configuration, statistics, the index of the repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serving.errors import ErrorCode, ServingError
from serving.model_config import ModelConfig, triton_config
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.protocols.views import Directory, find_model, find_version, ready_versions
from serving.wire import messages

# Our states in Triton's words.
STATES: Mapping[State, str] = {
    State.NEW: "LOADING",
    State.LOADING: "LOADING",
    State.WARMING: "LOADING",
    State.READY: "READY",
    State.DRAINING: "UNLOADING",
    State.GONE: "UNAVAILABLE",
    State.FAILED: "UNAVAILABLE",
}

_DURATIONS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)
_BATCH_DURATIONS = ("compute_input", "compute_infer", "compute_output")


def model_config(directory: Directory, name: str, number: int | None) -> Any:
    """The completed ``ModelConfig`` of a READY version. Raises ServingError."""
    facts = find_version(find_model(directory, name), number).facts
    if facts.signature is None:
        raise ServingError(ErrorCode.INTERNAL, f"model '{name}' has no signature")
    return triton_config(
        name,
        facts.signature,
        facts.config or ModelConfig(),
        max_rows=facts.max_rows,
        provider=facts.provider,
    )


def model_statistics(directory: Directory, name: str, number: int | None) -> Any:
    """A ``ModelStatisticsResponse`` of READY versions: of every model where ``name`` is empty,
    else of all of one model's versions or the one named. Raises ServingError."""
    if not name:
        chosen = [(v, version) for v in directory.views() for version in ready_versions(v)]
    else:
        view = find_model(directory, name)
        named = find_version(view, number)
        versions = ready_versions(view) if number is None else (named,)
        chosen = [(view, version) for version in versions]
    response = messages.ModelStatisticsResponse()
    response.model_stats.extend(_statistics(view.name, version) for view, version in chosen)
    return response


def _statistics(name: str, version: VersionView) -> Any:
    """Every statistic is set, at zero too: clients index them without asking."""
    counted = version.stats.snapshot() if version.stats is not None else {}
    message = messages.ModelStatistics(
        name=name,
        version=str(version.number),
        last_inference=counted.get("last_inference", 0),
        inference_count=counted.get("inference_count", 0),
        execution_count=counted.get("execution_count", 0),
    )
    _set_durations(message.inference_stats, _DURATIONS, counted.get("inference_stats", {}))
    for batch in counted.get("batch_stats", ()):
        entry = message.batch_stats.add(batch_size=batch["batch_size"])
        _set_durations(entry, _BATCH_DURATIONS, batch)
    for memory in counted.get("memory_usage", ()):
        message.memory_usage.add(**memory)
    return message


def _set_durations(message: Any, keys: tuple[str, ...], counted: Mapping[str, Any]) -> None:
    for key in keys:
        duration = getattr(message, key)
        duration.SetInParent()
        found = counted.get(key, {})
        duration.count, duration.ns = found.get("count", 0), found.get("ns", 0)


def repository_index(directory: Directory, *, ready: bool) -> Any:
    """A ``RepositoryIndexResponse``: one entry a version; ``ready`` leaves only those that
    answer. A model without versions has an entry that only says why."""
    response = messages.RepositoryIndexResponse()
    for view in directory.views():
        response.models.extend(
            entry for entry in _entries(view) if not ready or entry.state == "READY"
        )
    return response


def _entries(view: ModelView) -> Iterator[Any]:
    kind = messages.RepositoryIndexResponse.ModelIndex
    for version in view.versions:
        yield kind(
            name=view.name,
            version=str(version.number),
            state=STATES[version.state],
            reason=version.reason,
        )
    if not view.versions:
        yield kind(name=view.name, state="UNAVAILABLE" if view.reason else "", reason=view.reason)


def index_json(response: Any) -> list[dict[str, str]]:
    """What is empty is left out, as Triton does."""
    keys = ("name", "version", "state", "reason")
    return [{k: getattr(m, k) for k in keys if getattr(m, k)} for m in response.models]


def refuse_repository_name() -> ServingError:
    return ServingError(ErrorCode.UNIMPLEMENTED, "'repository_name' specification is not supported")


def not_supported(what: str) -> ServingError:
    return ServingError(ErrorCode.UNIMPLEMENTED, f"{what} is not supported")
