"""The scrape: what the core counts, and the families that Python knows.

Models and versions are labels only while the gateway has them: a series goes with its model
(faults 76, 95), and what is told of requests appears with the first of them. What the core counts
is the core's own text, made without the interpreter's lock.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterable
from importlib import metadata

import prometheus_client
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from serving import __version__
from serving.models.views import ModelView
from serving.observe import families
from serving.observe.families import Family, Sample
from serving.observe.view_text import ViewText

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Read = Callable[[], Iterable[Sample]]


class Exposition:
    """Renders scrapes. The registry is its own: what else lives in the process stays out."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._build = families.BUILD.block([(_build_labels(), 1)]).encode()
        self._read: tuple[tuple[Family, Read], ...] = ()
        # Of the families whose samples were a tuple: that tuple, and its text.
        self._blocks: dict[Family, tuple[Iterable[Sample], bytes]] = {}
        self._lock = threading.Lock()
        self._view_text = ViewText()

    def add(self, family: Family, read: Read) -> None:
        """Ask ``read`` for the family's samples at every scrape, in the scrape's thread. Where it
        gives the same tuple again, the text is written once.

        Raises ValueError for a family that is there already.
        """
        if any(family.name == known.name for known, _ in self._read):
            raise ValueError(f"{family.name} is there already")
        self._read = (*self._read, (family, read))

    def render(self, core: bytes, views: Iterable[ModelView]) -> bytes:
        """``core``: the text of ``Server.metrics()``. Prometheus text format 0.0.4.

        ``views``: the same tuple as long as nothing changed, for it is read only when another
        one comes.
        """
        end = b"" if core.endswith(b"\n") or not core else b"\n"
        with self._lock:
            of_views = self._view_text.render(tuple(views))
        read = (self._block(family, read()) for family, read in self._read)
        process = prometheus_client.generate_latest(self._registry)
        return b"".join((core, end, self._build, of_views, *read, process))

    def _block(self, family: Family, samples: Iterable[Sample]) -> bytes:
        of, text = self._blocks.get(family, (None, b""))
        if samples is not of:
            text = family.block(samples).encode()
            if isinstance(samples, tuple):
                self._blocks[family] = samples, text
        return text


def _build_labels() -> dict[str, str]:
    return {
        "version": __version__,
        "onnxruntime": onnxruntime_version() or "absent",
        "python": platform.python_version(),
    }


def onnxruntime_version() -> str | None:
    """Of the installed distribution, without importing it."""
    for distribution in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None
