"""Small inputs made from a signature: for the printed curl line and ``serving infer``."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from serving.models.views import ModelView, VersionView
from serving.signature import DATATYPES, Tensor
from serving.user_files import read_file

_MOST_BYTES = 64 * 1024 * 1024

# More numbers than this make no line that anybody pastes.
_MAX_ELEMENTS = 256
_NOT_IN_JSON = ("FP16", "BF16")


def generated(tensor: Tensor, rows: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    """An input with ``rows`` along axis 0 where that may vary, and 1 along every other axis
    that may. Floats lie in [0, 1), integers are 0 or 1."""
    shape = concrete(tensor.shape, rows)
    if tensor.datatype == "BYTES":
        texts = [f"text {i}" for i in range(math.prod(shape))]
        return np.array(texts, dtype=object).reshape(shape)
    if tensor.datatype == "BF16":
        # The upper half of a float's bits.
        bits = generator.random(shape, dtype=np.float32).view(np.uint32)
        return np.asarray(bits >> 16, dtype=np.uint16)
    if tensor.datatype in ("FP16", "FP32", "FP64"):
        return generator.random(shape).astype(DATATYPES[tensor.datatype][0])
    return generator.integers(0, 2, shape).astype(DATATYPES[tensor.datatype][0])


def concrete(shape: Sequence[int], rows: int) -> tuple[int, ...]:
    """``rows`` for a varying axis 0, 1 for every other varying axis."""
    return tuple((rows if axis == 0 else 1) if n < 0 else n for axis, n in enumerate(shape))


def try_line(base_url: str, models: Sequence[ModelView]) -> str | None:
    """A command that works when pasted: ``curl`` where an input fits into a line, else
    ``serving infer``, which makes one up."""
    if line := curl_line(base_url, models):
        return line
    sizes = [
        (sum(math.prod(concrete(t.shape, 1)) for t in version.facts.signature.inputs), view.name)
        for view in models
        for version in view.versions
        if version.number == view.default
        and version.facts.signature
        and version.facts.signature.inputs
    ]
    if not sizes:
        return None
    _, name = min(sizes)
    return f"{_program()} infer {shlex.quote(name)} --url {base_url} --generate"


def _program() -> str:
    """This command as the one who started it can type it."""
    path = Path(sys.argv[0])
    if path.name != "serving":
        return f"{shlex.quote(sys.executable)} -m serving"
    if shutil.which("serving") == str(path):
        return "serving"
    return shlex.quote(os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path))


def curl_line(base_url: str, models: Iterable[ModelView]) -> str | None:
    """A command that works when pasted, for the ready model with the smallest input."""
    candidates = []
    for view in models:
        version = next((v for v in view.versions if v.number == view.default), None)
        inputs = _json_inputs(version) if version is not None else None
        if inputs is not None:
            size = sum(len(i["data"]) for i in inputs)
            candidates.append((size, view.name, inputs))
    if not candidates:
        return None
    _, name, inputs = min(candidates, key=lambda c: (c[0], c[1]))
    body = json.dumps({"inputs": inputs}, separators=(",", ":"))
    target = f"{base_url}/v2/models/{quote(name, safe='')}/infer"
    return f"curl -s {shlex.quote(target)} -d {shlex.quote(body)}"


def _json_inputs(version: VersionView) -> list[dict[str, Any]] | None:
    """The inputs of a request; None where JSON can't carry them or they are too many."""
    signature = version.facts.signature
    if signature is None or not signature.inputs:
        return None
    needed = [t for t in signature.inputs if not t.optional]
    total = sum(math.prod(concrete(t.shape, 1)) for t in needed)
    if total > _MAX_ELEMENTS or any(t.datatype in _NOT_IN_JSON for t in needed):
        return None
    own = _own_sample(version)
    return [
        {
            "name": t.name,
            "shape": list(concrete(t.client_shape, 1)),
            "datatype": t.datatype,
            "data": own.get(t.name) or _plain(t),
        }
        for t in needed
    ]


def _plain(tensor: Tensor) -> list[Any]:
    """Few digits, so that the line stays short."""
    count = math.prod(concrete(tensor.shape, 1))
    if tensor.datatype == "BYTES":
        return ["hello"] * count
    if tensor.datatype == "BOOL":
        return [True] * count
    if tensor.datatype in ("FP32", "FP64"):
        return [[0, 1, 0.5, 0.25][i % 4] for i in range(count)]
    return [i % 2 for i in range(count)]


def _own_sample(version: VersionView) -> dict[str, list[Any]]:
    """The model's own warm-up sample, where its values come from files: real input."""
    found: dict[str, list[Any]] = {}
    signature, config = version.facts.signature, version.facts.config
    for sample in config.warmup if config is not None else ():
        for item in sample.inputs:
            tensor = (
                next((t for t in signature.inputs if t.name == item.name), None)
                if signature
                else None
            )
            if tensor is None or item.fill != "file" or tensor.datatype == "BYTES":
                continue
            values = _read(version, item.file, tensor)
            if values is not None and len(values) == math.prod(concrete(tensor.shape, 1)):
                found.setdefault(item.name, values)
    return found


def _read(version: VersionView, name: str, tensor: Tensor) -> list[Any] | None:
    """The first row of a warm-up file."""
    count = math.prod(concrete(tensor.shape, 1))
    try:
        data = read_file(version.origin.fetch().model / "warmup" / name, _MOST_BYTES)
        row = np.frombuffer(data, dtype=tensor.dtype.newbyteorder("<"), count=count)
    except (OSError, ValueError):
        return None
    return [int(v) if float(v).is_integer() else v for v in row.tolist()]
