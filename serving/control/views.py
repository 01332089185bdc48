"""Models and versions as JSON, for the admin port and the commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serving.control.routes import split_json
from serving.control.schemas import VersionInfo
from serving.control.selection import model_states
from serving.gates.verdict import to_plain
from serving.loading.batching.cost import CostCurve
from serving.loading.facts import VersionFacts
from serving.models.reasons import Absence
from serving.models.state import Transition
from serving.models.views import ModelView, VersionView
from serving.signature import Signature, Tensor


def models_json(views: Iterable[ModelView]) -> list[dict[str, Any]]:
    """What ``GET /api/v1/models`` answers: no path in it."""
    return [model_json(view) for view in views]


def model_json(view: ModelView) -> dict[str, Any]:
    return {
        "name": view.name,
        "states": list(model_states(view)),
        "default": view.default,
        "reason": view.reason,
        "own_reason": view.own_reason,
        "absence": _kind(view.absence),
        "pinned": view.pinned,
        "answered": view.answered,
        "previous": view.previous,
        "aliases": dict(sorted(view.aliases.items())),
        "split": split_json(view) if view.split.weights else None,
        "held_out": view.held_out,
        "versions": [version_json(version) for version in view.versions],
        "unloaded": [
            {"version": v.number, "reason": v.reason, "absence": _kind(v.absence)}
            for v in view.unloaded
        ],
    }


def _kind(absence: Absence | None) -> str | None:
    return None if absence is None else absence.name


def status_json(view: ModelView) -> dict[str, Any]:
    """The same with each version's manifest."""
    found = model_json(view)
    for version, shown in zip(view.versions, found["versions"], strict=True):
        shown["manifest"] = manifest_json(version)
    return found


def manifest_json(version: VersionView) -> dict[str, Any] | None:
    """None without a manifest, or with one that can't be read."""
    manifest = version.origin.manifest
    if manifest is None:
        return None
    return {
        "created": manifest.created,
        "git_commit": manifest.git_commit,
        "mlflow_run_id": manifest.run_id,
        "mlflow_model_id": manifest.model_id,
        "metadata": dict(manifest.metadata),
        "metrics": dict(manifest.metrics),
    }


def event_json(event: Transition) -> dict[str, Any]:
    return {
        "at": event.at,
        "version": event.version,
        "state": str(event.state),
        "reason": event.reason,
    }


def version_json(version: VersionView) -> dict[str, Any]:
    """All that ``VersionInfo`` names, in its order; what stands not below its load found out."""
    signature = version.facts.signature
    of_now: dict[str, Any] = {
        "version": version.number,
        "state": str(version.state),
        "reason": version.reason,
        "inputs": [tensor_json(t) for t in signature.inputs] if signature else [],
        "outputs": [tensor_json(t) for t in signature.outputs] if signature else [],
        "ready_since": version.ready_since,
        "queue": version.queue.depth() if version.queue is not None else None,
        "held_back": version.held_back,
        "gated": version.gated,
        "verdict": to_plain(version.verdict) if version.verdict is not None else None,
    }
    names = (name for name in VersionInfo.model_fields if name != "manifest")
    return {
        name: of_now[name] if name in of_now else _plain(getattr(version.facts, name))
        for name in names
    }


def _plain(fact: object) -> Any:
    if isinstance(fact, CostCurve):
        return cost_json(fact)
    if isinstance(fact, Mapping):
        return dict(fact)
    return list(fact) if isinstance(fact, tuple) else fact


def cost_json(cost: CostCurve) -> dict[str, Any]:
    return {"fixed_s": cost.fixed_s, "per_row_s": cost.per_row_s, "best_rows": cost.best_rows}


def tensor_json(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.client_shape),
        "optional": tensor.optional,
    }


def provider_words(provider_nodes: Mapping[str, int], threads: int) -> str:
    """Execution provider -> nodes of the graph, and the threads within an operator, in words."""
    nodes = ", ".join(
        f"{name} ({count} node{'' if count == 1 else 's'})"
        for name, count in sorted(provider_nodes.items())
    )
    return nodes and f"{nodes}, {threads} thread{'' if threads == 1 else 's'}"


def load_report(facts: VersionFacts) -> dict[str, Any]:
    """What ``serving check`` says of a version that it loaded."""
    signature = facts.signature
    return {
        "signature": signature_words(signature) if signature is not None else "",
        "batching": facts.batching,
        "isolated": facts.isolated,
        "providers": provider_words(facts.provider_nodes, facts.threads),
        "left_out": ", ".join(facts.left_out),
        "baseline": facts.baseline,
        "notes": list(facts.notes),
    }


def signature_words(signature: Signature) -> str:
    """``x FP32[-1,4] -> probabilities FP32[-1,3]``."""
    inputs = ", ".join(_words(t) for t in signature.inputs) or "nothing"
    return f"{inputs} -> {', '.join(_words(t) for t in signature.outputs)}"


def _words(tensor: Tensor) -> str:
    shape = ",".join(str(n) for n in tensor.client_shape)
    return f"{tensor.name} {tensor.datatype}[{shape}]{'?' if tensor.optional else ''}"
