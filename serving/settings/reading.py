"""Settings from their four origins, put together and checked."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from serving import strict_yaml
from serving.errors import ConfigError
from serving.settings.tree import Settings, default_state_dir, describe
from serving.user_files import read_file

_MOST_BYTES = 1024 * 1024

PREFIX = "SERVING_"
# Variables that are read elsewhere than in the tree of settings.
_OTHER_VARIABLES = frozenset({"SERVING_CONFIG", "SERVING_ADMIN_URL", "SERVING_URL"})
# What Kubernetes puts into every container's environment for a service of the same name.
_INJECTED = ("tcp://", "udp://", "sctp://")


def load_settings(
    flags: Mapping[str, object],
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Settings, dict[str, str]]:
    """The effective settings, and for every dotted key where its value came from:
    ``default``, ``file``, ``environment`` or ``flag``.

    ``flags``: dotted key -> value, text or typed; None counts as not given. Without
    ``config_file`` the one that ``SERVING_CONFIG`` names is read.

    Raises ConfigError, one line for each thing that is wrong.
    """
    environ = os.environ if environ is None else environ
    if config_file is None and environ.get("SERVING_CONFIG"):
        config_file = Path(environ["SERVING_CONFIG"])
    values: dict[str, object] = {"state_dir": default_state_dir(environ)}
    origins = {key: "default" for key, _ in describe()}
    layers = (
        ("file", _from_file(config_file) if config_file else {}),
        ("environment", _from_environment(environ)),
        ("flag", _from_flags(flags)),
    )
    for origin, layer in layers:
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    return _validated(values, origins), origins


class IgnoredVariable(NamedTuple):
    """One that has no effect, and why; ``mistaken``: somebody meant it to have one."""

    name: str
    reason: str
    mistaken: bool

    def __str__(self) -> str:
        return f"{self.name} ignored: {self.reason}"


def ignored_environment(environ: Mapping[str, str] | None = None) -> tuple[IgnoredVariable, ...]:
    """The ``SERVING_`` variables that have no effect."""
    environ = os.environ if environ is None else environ
    known = _variables()
    notes = []
    for variable in sorted(v for v in environ if v.startswith(PREFIX)):
        if environ[variable].startswith(_INJECTED):
            reason = "it looks like a Kubernetes service's address"
            notes.append(IgnoredVariable(variable, reason, mistaken=False))
        elif variable not in known and variable not in _OTHER_VARIABLES:
            reason = f"no such setting{_nearest(variable, known)}"
            notes.append(IgnoredVariable(variable, reason, mistaken=True))
    return tuple(notes)


def _variables() -> dict[str, str]:
    """Environment variable -> dotted key."""
    return {PREFIX + key.upper().replace(".", "__"): key for key, _ in describe()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    return {
        key: environ[variable]
        for variable, key in _variables().items()
        if variable in environ and not environ[variable].startswith(_INJECTED)
    }


def _from_flags(flags: Mapping[str, object]) -> dict[str, object]:
    given = {key: value for key, value in flags.items() if value is not None}
    _refuse_unknown(given, "--set")
    return given


def _from_file(path: Path) -> dict[str, object]:
    """Dotted key -> value. Raises ConfigError for what can't be read or isn't known."""
    try:
        content = strict_yaml.load(read_file(path, _MOST_BYTES).decode())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except strict_yaml.TwiceError as error:
        raise ConfigError(f"{path}: {error.problem} (line {error.line})") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {_yaml_words(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings by name, got {type(content).__name__}")
    flat = dict(_flatten(content, _sections(), str(path)))
    _refuse_unknown(flat, str(path))
    return flat


def _flatten(
    content: Mapping[object, object], sections: frozenset[str], origin: str, prefix: str = ""
) -> Iterator[tuple[str, object]]:
    for name, value in content.items():
        key = f"{prefix}{name}"
        if key not in sections:
            yield key, value
        elif isinstance(value, dict):
            yield from _flatten(value, sections, origin, f"{key}.")
        elif value is not None:
            raise ConfigError(f"{origin}: {key}: expected settings by name, got {value!r}")


def _sections() -> frozenset[str]:
    return frozenset(key.rpartition(".")[0] for key, _ in describe() if "." in key)


def _refuse_unknown(given: Mapping[str, object], origin: str) -> None:
    known = {key: key for key, _ in describe()}
    lines = [
        f"{origin}: no such setting: '{key}'{_nearest(key, known)}"
        for key in given
        if key not in known
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def _nearest(key: str, known: Mapping[str, str]) -> str:
    """`` (did you mean 'x'?)`` or nothing. A key may also be right but in the wrong section."""
    tail = key.rpartition(".")[2]
    same_tail = [k for k in known if k.rpartition(".")[2] == tail]
    near = same_tail or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if not near:
        tails = {k.rpartition(".")[2]: k for k in known}
        near = [tails[t] for t in difflib.get_close_matches(tail, tails, n=1, cutoff=0.75)]
    return f" (did you mean '{near[0]}'?)" if near else ""


def _validated(values: Mapping[str, object], origins: Mapping[str, str]) -> Settings:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines = [_line(dict(e), values, origins) for e in error.errors(include_url=False)]
        raise ConfigError("\n".join(lines)) from None


_ORIGIN_WORDS = {
    "file": "in the settings file",
    "environment": "from the environment",
    "flag": "from the command line",
}


def _line(error: dict[str, Any], values: Mapping[str, object], origins: Mapping[str, str]) -> str:
    known = dict(describe())
    location = [str(part) for part in error["loc"]]
    key = next((k for n in (3, 2, 1) if (k := ".".join(location[:n])) in known), ".".join(location))
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = repr(values.get(key))
    got = "" if "got " in message or value in message else f", got {value}"
    where = _ORIGIN_WORDS.get(origins.get(key, ""), "")
    return f"{key}{f' ({where})' if where else ''}: {message}{got}"


def _yaml_words(error: Exception) -> str:
    """What is wrong and where, without the piece of text and PyYAML's name for it."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return " ".join(str(error).split())
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})"
