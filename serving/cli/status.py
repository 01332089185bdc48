"""A model's state as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

_MIB = 1024 * 1024


def status_lines(model: dict[str, Any]) -> Iterator[str]:
    """``model``: as the admin port's status gives it."""
    yield str(model["name"])
    yield f"  {default_words(model)}"
    for line in (*split_lines(model), *alias_lines(model)):
        yield f"  {line}"
    if model["own_reason"]:
        yield f"  {model['own_reason']}"
    if model.get("held_out"):
        yield "  kept out until it is loaded by command"
    for version in model.get("unloaded", ()):
        yield f"  version {version['version']} is on disk and not loaded: {version['reason']}"
    for version in model["versions"]:
        yield ""
        yield from _version_lines(version)


def alias_lines(model: dict[str, Any]) -> Iterator[str]:
    aliases: dict[str, int] = model.get("aliases", {})
    if aliases:
        told = ", ".join(f"{alias} is version {version}" for alias, version in aliases.items())
        yield f"aliases: {told}"


def split_lines(model: dict[str, Any]) -> Iterator[str]:
    """How requests that name no version are divided, where they are."""
    split = model.get("split")
    if split and model.get("pinned") is None:
        parts = [f"version {v} has {100 * part:.4g} %" for v, part in split["shares"].items()]
        key = f", by {split['sticky']}" if split["sticky"] else ""
        yield f"divided{key}: {', '.join(parts)}"


def default_words(model: dict[str, Any]) -> str:
    if model["default"] is None:
        words = "no version answers unnamed requests"
    else:
        words = f"version {model['default']} answers unnamed requests"
    pinned = model.get("pinned")
    if pinned is not None:
        words += " (pinned)" if pinned == model["default"] else f"; version {pinned} is pinned"
    return "; ".join([words, *_before(model)])


def _before(model: dict[str, Any]) -> Iterator[str]:
    """What answered before what does now, and where a rollback goes if that is another one."""
    now, last, previous = model["default"], model["answered"], model["previous"]
    if last == now or last is None:
        if previous is not None:
            yield f"before it: version {previous}"
        return
    yield f"version {last} did last" if now is None else f"before it: version {last}"
    if previous not in (None, now, last):
        yield f"a rollback goes to version {previous}"


def _version_lines(version: dict[str, Any]) -> Iterator[str]:
    state = str(version["state"])
    if version["state"] == "READY" and version["ready_since"]:
        state += f" since {when(version['ready_since'])}"
    reason = f": {version['reason']}" if version["reason"] else ""
    yield f"  version {version['version']}: {state}{reason}"
    if version["provider"]:
        yield (
            f"    runs on    {version['provider']}, threads: {version['threads']},"
            f" instances: {version['instances']}"
        )
    facts = {
        "batching": version["batching"],
        "cost": _cost_words(version.get("cost")),
        "memory": _memory_words(version.get("memory_bytes")),
        "isolated": version.get("isolated"),
        "from": _origin_words(version.get("manifest")),
        "notes": "; ".join(version["notes"]),
    }
    for name, words in facts.items():
        if words:
            yield f"    {name:<10} {words}"
    if version.get("verdict"):
        yield from _verdict_lines(version["verdict"])


def _verdict_lines(verdict: dict[str, Any]) -> Iterator[str]:
    """All that was asked of it, with its figures."""
    by = f" by command: {verdict['reason']}" if verdict["reason"] else ""
    base = f", held against version {verdict['base']}" if verdict["base"] is not None else ""
    counts = {"request": verdict["requests"], "example": verdict["examples"]}
    ran = ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items() if n)
    told = f"{base}{f' on {ran}' if ran else ''}, in {verdict['seconds']:.1f} s"
    yield f"    {'verdict':<10} {verdict['verdict']}{by} ({when(verdict['at'])}{told})"
    for note in verdict["notes"]:
        yield f"      {note}"
    for check in verdict["checks"]:
        yield f"      {_check_words(check, verdict['base'])}"


def _check_words(check: dict[str, Any], base: int | None) -> str:
    what = f"{check['name']} of {check['slice']}" if check["slice"] else check["name"]
    passed = "passed" if check["passed"] else "FAILED"
    figures = [] if check["value"] is None else [f"{check['value']:.4g}"]
    if check["base"] is not None and base is not None:
        figures.append(f"version {base}: {check['base']:.4g}")
    words = f"({check['words']})" if check["words"] else ""
    return " ".join(filter(None, [passed, what, ", ".join(figures), words]))


def _cost_words(cost: dict[str, Any] | None) -> str:
    if not cost:
        return ""
    words = f"{cost['fixed_s'] * 1e3:.3g} ms a run and {cost['per_row_s'] * 1e3:.3g} ms a row"
    best = cost["best_rows"]
    return words if best is None else f"{words}; cheapest at {best} rows"


def _memory_words(size: int | None) -> str:
    return f"about {size / _MIB:.1f} MiB" if size else ""


def _origin_words(manifest: dict[str, Any] | None) -> str:
    if not manifest:
        return ""
    named = {
        "git commit": manifest["git_commit"],
        "MLflow run": manifest["mlflow_run_id"],
        "MLflow model": manifest["mlflow_model_id"],
        **manifest["metadata"],
        **manifest["metrics"],
    }
    words = [f"{name} {value}" for name, value in named.items() if value not in ("", None)]
    return ", ".join([f"published {manifest['created']}", *words])


def when(seconds: float) -> str:
    """Seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
