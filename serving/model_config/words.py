"""Words for people who mistyped something."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from serving.errors import ConfigError

PROVIDERS: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}

# Parts of option names that let onnxruntime load code, read its settings from
# elsewhere, or read and write files of its own choosing.
_REACHES_OUTSIDE = (
    "custom_op",
    "load_config",
    "load_model_format",
    "plugin",
    "path",
    "folder",
    "file",
    "_dir",
)


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def provider_name(word: str) -> str:
    """onnxruntime's name for a provider: ``cuda`` or ``CUDAExecutionProvider``.

    Raises ConfigError for a word that is no provider's.
    """
    short = PROVIDERS.get(word.lower())
    if short is not None:
        return short
    if word in PROVIDERS.values():
        return word
    known = [*PROVIDERS.values(), *PROVIDERS]
    raise ConfigError(f"unknown execution provider {word!r}{suggestion(word, known)}")


def refuse_outside_reach(option: str) -> None:
    """Raise ConfigError for an onnxruntime option that names code or files."""
    lowered = option.lower()
    if any(part in lowered for part in _REACHES_OUTSIDE):
        raise ConfigError(
            f"option {option!r} is refused: a model's configuration may not make "
            "onnxruntime load code, or read or write files"
        )


def plain_file_name(value: str, what: str) -> str:
    """The name itself. Raises ConfigError unless it is one file's name without a folder."""
    bad = not value or value in (".", "..") or len(value.encode()) > 255
    if bad or any(c in "/\\" or not c.isprintable() for c in value):
        raise ConfigError(f"{what} must be a plain file name, got {value!r}")
    return value
