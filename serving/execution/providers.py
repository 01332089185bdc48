"""Execution providers: which to ask for, and which one really got the nodes.

CUDA and TensorRT follow onnxruntime's documented behaviour and have not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.errors import LoadError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"

SHORT_NAMES = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT, "openvino": OPENVINO}


@dataclass(frozen=True, slots=True)
class Choice:
    """``order``: what the session is asked for; ``missing``: preferred, but not to be had."""

    order: tuple[str, ...]
    missing: tuple[str, ...]


def full_name(name: str) -> str:
    """onnxruntime's name of a provider written short (``cuda``) or in full."""
    return SHORT_NAMES.get(name.lower(), name)


def choose(available: Sequence[str], prefer: Iterable[str], require: Iterable[str]) -> Choice:
    """The providers in order: the preferred ones, then required ones not among them, then CPU.

    onnxruntime always ends with the CPU for what the others cannot run. TensorRT leaves
    nodes over by design; CUDA takes them where it is there.

    Raises LoadError naming a required provider that is missing, and what is available.
    """
    required = [full_name(name) for name in require]
    lacking = [name for name in required if name not in available]
    if lacking:
        raise LoadError(
            f"required execution provider {_words(lacking)} is not available here"
            f" (available: {_words(available)})"
        )
    wanted = _unique([*(full_name(name) for name in prefer), *required])
    order = [name for name in wanted if name in available]
    if TENSORRT in order and CUDA in available and CUDA not in order:
        order.insert(order.index(TENSORRT) + 1, CUDA)
    missing = [name for name in wanted if name not in available]
    return Choice(tuple(_unique([*order, CPU])), tuple(missing))


def node_counts(session: Any) -> dict[str, int]:
    """Provider -> how many nodes of the optimised graph it runs, most first.

    Empty where the graph was folded into constants, or where this onnxruntime cannot tell.
    """
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return {}
    counts: dict[str, int] = {}
    for part in ask():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def check_required(require: Iterable[str], active: Sequence[str], nodes: Mapping[str, int]) -> None:
    """Raises LoadError where a required provider did not start or got nothing to do (fault 92).

    ``active``: the session's own list. Without counts (``nodes`` empty) only that list counts.
    """
    for name in (full_name(name) for name in require):
        if name not in active:
            raise LoadError(
                f"required execution provider {name} did not start (active: {_words(active)})"
            )
        if nodes and not nodes.get(name):
            share = ", ".join(f"{n} {count}" for n, count in nodes.items())
            raise LoadError(
                f"required execution provider {name} got no node of the graph ({share})"
            )


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _words(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
