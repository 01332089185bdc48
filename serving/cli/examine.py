"""What ``serving check`` finds out about directories of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.cli.bare_file import examine_file
from serving.cli.version_folder import Only, reader, told_apart
from serving.control.views import load_report
from serving.errors import ConfigError
from serving.execution.onnx_signature import differences_of_files
from serving.execution.runtime import start_global_pool
from serving.model_config import load_model_config
from serving.models import advice
from serving.models.desired.kept_pins import kept_pins, pinned_state
from serving.models.manager import Manager
from serving.models.views import ModelView, VersionView
from serving.registry.directory import DirectorySource
from serving.registry.manifest import Manifest, ManifestError, read_manifest, verify
from serving.registry.names import MODEL_FILE
from serving.registry.snapshot import FoundModel, FoundVersion, Ignored, Snapshot
from serving.settings import Settings
from serving.signature import difference


def examine(settings: Settings, roots: Sequence[Path], *, load: bool) -> dict[str, Any]:
    """``models``, ``ignored`` entries, folders ``passed_over`` and ``problems``, ready for JSON.
    A root may be a model's file, or a version's folder.

    With ``load`` every version that the gateway would load is loaded here, in the same way: also
    those that are pinned, as the state directory has it. Raises ConfigError where onnxruntime is
    missing.
    """
    # Whoever checks has finished copying.
    registry = settings.registry.model_copy(update={"settle_s": 0.0})
    # What lies there is to be judged, not what the server was told to make of it.
    settings = settings.model_copy(update={"registry": registry, "model_control": "poll"})
    follow = registry.follow_symlinks
    files = [root for root in roots if root.is_file()]
    folders = [root for root in roots if root not in files]
    roots, only = told_apart(folders, follow=follow)
    pins = kept_pins(settings.state_dir, roots)
    snapshot = DirectorySource(roots, settle_s=0.0, follow_symlinks=follow).scan()
    loaded = _loaded(settings, roots, only, pins) if load and roots else ()
    views = {view.name: view for view in loaded}
    models = [_model(found, views.get(found.name), load) for found in snapshot.models]
    for model in models:
        _add_asked(model, pins, only)
    models += [examine_file(settings, file, load=load) for file in files]
    return {
        "models": models,
        "ignored": _in_words(snapshot.ignored),
        "passed_over": _in_words(snapshot.passed_over),
        "problems": list(_problems(snapshot, models)),
    }


def _in_words(entries: Sequence[Ignored]) -> list[dict[str, str]]:
    return [{"path": str(one.path), "reason": one.reason} for one in entries]


def _add_asked(model: dict[str, Any], pins: Mapping[str, int], only: Only) -> None:
    """What somebody asked for: a pin by command, or one version of this command."""
    asked = only.get(Path(model["path"]))
    if asked is None:
        model["pinned"] = pins.get(model["name"])
        return
    model["versions"] = [one for one in model["versions"] if one["version"] in asked]
    model["only"], model["default"] = sorted(asked), None


def _loaded(
    settings: Settings, roots: Sequence[Path], only: Only, pins: Mapping[str, int]
) -> tuple[ModelView, ...]:
    start_global_pool(settings)
    alone = {folder.name for folder in only}
    state = pinned_state({name: pin for name, pin in pins.items() if name not in alone})
    manager = Manager(settings, roots, lambda views: None, state=state, read_config=reader(only))
    manager.start()
    try:
        while not manager.wait_started(1.0):
            continue
        return manager.views()
    finally:
        manager.stop()


def _model(found: FoundModel, view: ModelView | None, load: bool) -> dict[str, Any]:
    error = found.error
    source, ignored_keys, filename = "none", list[str](), MODEL_FILE
    try:
        config = load_model_config(found.path)
        source, ignored_keys = config.source, list(config.ignored)
        filename = config.model_filename
    except ConfigError as wrong:
        source = "wrong"
        error = error or f"configuration: {str(wrong).removesuffix(f' (model {found.name!r})')}"
    seen = {v.number: v for v in view.versions} if view is not None else {}
    versions = [_version(v, seen.get(v.number), load) for v in found.versions]
    _note_signature(found, seen, versions, filename)
    return {
        "name": found.name,
        "path": str(found.path),
        "layout": found.layout,
        "configuration": source,
        "ignored_keys": ignored_keys,
        "error": error,
        "pinned": None,
        "reason": view.own_reason if view is not None else "",
        "only": [],
        "default": view.default if view is not None else None,
        "versions": versions,
    }


def _note_signature(
    found: FoundModel,
    seen: Mapping[int, VersionView],
    versions: Sequence[dict[str, Any]],
    filename: str,
) -> None:
    """Say of the highest version that is loaded what callers of the version below would be wrong
    with."""
    known = {number: view.facts.signature for number, view in seen.items()}
    newest = max((number for number, signature in known.items() if signature), default=0)
    below = max((v for v in found.versions if v.number < newest), key=_number, default=None)
    report = next((v for v in versions if v["version"] == newest), None)
    if below is None or report is None:
        return
    new, old = known[newest], known.get(below.number)
    if new is not None and old is not None:
        differs = difference(old, new)
    else:
        folders = (one.origin.fetch().version for one in (below, seen[newest]))
        differs = differences_of_files(*(folder / filename for folder in folders))
    if differs:
        report["notes"].append(
            f"callers of version {below.number} would be wrong with it: {', '.join(differs)}; a"
            f" gateway that answers with version {below.number} holds it back (unless"
            f" rollout.hold_signature_changes is off) until: {advice.accept(found.name, newest)}"
        )


def _number(version: FoundVersion) -> int:
    return version.number


def _version(found: FoundVersion, view: VersionView | None, load: bool) -> dict[str, Any]:
    manifest = _manifest(found)
    if view is None or not found.whole:
        return {"version": found.number, **_unloaded(found, load), **manifest}
    return {
        "version": found.number,
        **manifest,
        "state": str(view.state).lower(),
        "reason": view.reason,
        **load_report(view.facts),
    }


def _manifest(found: FoundVersion) -> dict[str, Any]:
    """What the version's manifest says of it, and whether its files still are what it lists:
    every one is read."""
    if not found.manifest:
        return {"manifest": None, "checksums": ""}
    folder = found.origin.fetch().version
    try:
        manifest = read_manifest(folder)
        if manifest is None:
            return {"manifest": None, "checksums": ""}
        verify(folder, manifest)
    except ManifestError as error:
        return {"manifest": None, "checksums": error.reason}
    return {"manifest": _facts(manifest), "checksums": "right"}


def _facts(manifest: Manifest) -> dict[str, Any]:
    return {
        "model": manifest.model,
        "version": manifest.version,
        "created": manifest.created,
        "files": len(manifest.files),
        "git_commit": manifest.git_commit,
        "mlflow_run_id": manifest.run_id,
        "mlflow_model_id": manifest.model_id,
        "metadata": dict(manifest.metadata),
        "metrics": dict(manifest.metrics),
        "samples": list(manifest.samples),
    }


def _unloaded(found: FoundVersion, load: bool) -> dict[str, Any]:
    if not found.whole:
        return {"state": "not whole", "reason": found.why_not}
    if load:
        return {"state": "not loaded", "reason": "the model's version policy leaves it out"}
    return {"state": "found", "reason": ""}


def _problems(snapshot: Snapshot, models: list[dict[str, Any]]) -> Iterator[str]:
    for error in snapshot.errors:
        yield f"{error.root}: {error.reason}"
    if not models and not snapshot.errors:
        yield "no model was found: expected <DIR>/<model>/<version>/model.onnx"
    for model in models:
        if model["error"]:
            yield f"{model['name']}: {model['error']}"
        elif not model["versions"]:
            yield f"{model['name']}: no version: expected a directory named by a positive integer"
        for version in model["versions"]:
            if model["error"] and version["state"] == "failed":
                continue  # with a configuration that is wrong, each version fails of that
            if version["state"] in ("failed", "not whole"):
                yield f"{model['name']} {version['version']}: {version['reason']}"
            elif version["checksums"] not in ("", "right"):
                yield f"{model['name']} {version['version']}: {version['checksums']}"
