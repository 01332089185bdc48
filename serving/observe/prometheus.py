"""The scrape: what the core counts, and the few families that Python knows.

Names and labels are kept from now on. Models and versions are labels only while the gateway
has them: a series goes with its model (faults 76, 95).
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata

import prometheus_client
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from serving import __version__
from serving.models.views import ModelView, VersionView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """Renders scrapes. The registry is its own: what else lives in the process stays out."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._build = _build_info()

    def render(self, core: bytes, views: Iterable[ModelView]) -> bytes:
        """``core``: the text of ``Server.metrics()``. Prometheus text format 0.0.4."""
        own = "".join((*self._build, *_model_families(tuple(views)))).encode()
        process = prometheus_client.generate_latest(self._registry)
        return core + (b"" if core.endswith(b"\n") or not core else b"\n") + own + process


def _model_families(views: tuple[ModelView, ...]) -> Iterator[str]:
    versions = [(view.name, version) for view in views for version in view.versions]
    yield from _family(
        "serving_model_state",
        "The state that a model's version is in (1 for the one it is in).",
        (({**_labels(m, v), "state": str(v.state)}, 1) for m, v in versions),
    )
    yield from _family(
        "serving_model_load_seconds",
        "How long a version took from the start of its load until it was ready.",
        ((_labels(m, v), v.load_seconds) for m, v in versions if v.load_seconds is not None),
    )
    yield from _family(
        "serving_model_memory_bytes",
        "Memory that a version takes, as its trial measured it or by its files' sizes.",
        ((_labels(m, v), v.memory_bytes) for m, v in versions if v.memory_bytes),
    )
    costs = [(_labels(m, v), v.cost) for m, v in versions if v.cost is not None]
    yield from _family(
        "serving_model_cost_fixed_seconds",
        "What a run costs however many rows it has, measured when the version was warmed.",
        ((labels, cost.fixed_s) for labels, cost in costs),
    )
    yield from _family(
        "serving_model_cost_per_row_seconds",
        "What each row of a run costs, measured when the version was warmed.",
        ((labels, cost.per_row_s) for labels, cost in costs),
    )
    yield from _family(
        "serving_model_best_batch_rows",
        "Rows of the run in which a row is cheapest.",
        ((labels, cost.best_rows) for labels, cost in costs if cost.best_rows is not None),
    )
    yield from _family(
        "serving_model_provider_nodes",
        "Graph nodes that an execution provider really got.",
        (
            ({**_labels(m, v), "provider": provider}, count)
            for m, v in versions
            for provider, count in sorted(v.provider_nodes.items())
        ),
    )


def _labels(model: str, version: VersionView) -> dict[str, str]:
    return {"model": model, "version": str(version.number)}


def _build_info() -> tuple[str, ...]:
    labels = {
        "version": __version__,
        "onnxruntime": onnxruntime_version() or "absent",
        "python": platform.python_version(),
    }
    return tuple(_family("serving_build_info", "Versions of what is running.", iter([(labels, 1)])))


def onnxruntime_version() -> str | None:
    """Of the installed distribution, without importing it."""
    for distribution in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def _family(
    name: str, text: str, samples: Iterator[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} gauge\n"
    for labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        yield f"{name}{{{pairs}}} {value:.10g}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
