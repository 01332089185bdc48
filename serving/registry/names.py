"""Which names are models, which are versions, and which have a meaning of their own."""

from __future__ import annotations

import re

from serving.model_config import CONFIG_FILES
from serving.model_config.validation import SCHEMA

MAX_NAME = 255
MAX_VERSION = 2**63 - 1
MODEL_FILE = "model.onnx"
# What a publisher has not finished yet (``serving.registry.temporary``).
UNFINISHED = ".publishing-"
# Folders beside the versions that have their own meaning (Triton's layout).
SIDE_FOLDERS = frozenset({"warmup", "initial_state", "configs"})
_CONFIG_FILES = frozenset(CONFIG_FILES)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_STRICT = re.compile(r"[1-9][0-9]*", re.ASCII)


def is_digits(name: str) -> bool:
    """Whether it may be meant as a version."""
    return _DIGITS.fullmatch(name) is not None


def version_number(name: str, zeros: bool = False) -> int:
    """The positive int64 that a folder's name stands for. ``zeros``: some may lead.

    Raises ValueError that says why it is none.
    """
    digits = name.lstrip("0") if zeros and is_digits(name) else name
    if _STRICT.fullmatch(digits) is None:
        without = "" if zeros else " without leading zeros"
        raise ValueError(f"a version is a positive integer{without}")
    if len(digits) > 19 or int(digits) > MAX_VERSION:
        raise ValueError("a version fits into 63 bits")
    return int(digits)


def why_no_model(name: str) -> str:
    """Why a folder's name cannot be a model's; "" where it can."""
    if not name:
        return "a model has a name"
    if name.startswith("."):
        return "a model's name does not begin with a dot"
    if "/" in name or "\\" in name:
        return "a model's name has no slashes"
    if not name.isprintable():
        return "a model's name has printable characters only"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        return f"a model's name has at most {MAX_NAME} bytes"
    return ""


def is_beside(name: str, *, published: bool) -> bool:
    """Whether an entry of a model's folder belongs to the model, not to a version that lies
    in the same folder. ``published``: that has a manifest, which may list a schema of its own."""
    return (
        name in _CONFIG_FILES
        or (name == SCHEMA and not published)
        or name in SIDE_FOLDERS
        or is_digits(name)
        or name.startswith(UNFINISHED)
    )


def is_config(name: str) -> bool:
    """Whether it says how a model is to be served."""
    return name in _CONFIG_FILES


def passed_over(name: str, follow: bool) -> bool:
    """Whether a folder is left out without a word: what is being published, and where links
    are followed, what Kubernetes keeps its volumes in (``..data``, ``..2026_01_01``)."""
    return name.startswith(UNFINISHED) or (follow and name.startswith(".."))
