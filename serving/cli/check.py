"""``serving check``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli import options
from serving.cli.output import UserError, print_json, print_line, print_table

if TYPE_CHECKING:
    from serving.settings import Settings

# Entries of one kind that are listed for people; --json lists all.
_MOST_LISTED = 100


def check(
    roots: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR|FILE.onnx",
            help="Directories with models: DIR/<model>/<version>/model.onnx; or a model's folder,"
            " one of its versions', or a model's file.",
            exists=True,
            readable=True,
        ),
    ] = None,
    show_settings: Annotated[
        bool, typer.Option("--settings", help="Print the effective settings and their origin.")
    ] = False,
    no_load: Annotated[bool, typer.Option("--no-load", help="Only look: load no model.")] = False,
    state_dir: Annotated[
        Path | None, typer.Option(help="Where the gateway keeps its pins; it is only read.")
    ] = None,
    config: options.ConfigFile = None,
    assignments: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Explain what would be served from DIR, or made of a bare file, and what is wrong with it.

    The models are loaded and proven here as the gateway would. The exit status is 0 when all
    is well, 1 when something is wrong, 2 for a wrong setting.
    """
    settings, origins = options.load({"state_dir": state_dir}, config, assignments)
    if not roots and not show_settings:
        raise UserError("say which directories or files to check, or --settings", code=2)
    report: dict[str, Any] = {}
    if show_settings:
        from serving.settings.shown import settings_json

        report["settings"] = settings_json(settings, origins)
    if roots:
        report.update(_examined(settings, roots, load=not no_load))
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report.get("problems"):
        raise typer.Exit(1)


def _examined(settings: Settings, roots: Sequence[Path], *, load: bool) -> dict[str, Any]:
    from serving.cli.examine import examine
    from serving.cli.start import missing
    from serving.errors import ConfigError
    from serving.observe.logs import configure
    from serving.settings import LogSettings

    # What the log would say is in the report.
    configure(LogSettings(level="error", format=settings.log.format))
    try:
        return examine(settings, roots, load=load)
    except ImportError as error:
        raise UserError(missing(error)) from None
    except ConfigError as error:
        raise UserError(str(error)) from None


def _print(report: dict[str, Any]) -> None:
    if "settings" in report:
        print_table(
            ("SETTING", "VALUE", "ORIGIN"),
            [(s["key"], s["value"], s["origin"]) for s in report["settings"]],
        )
    for model in report.get("models", ()):
        _print_model(model)
    _print_entries("ignored", report.get("ignored", ()))
    _print_entries("no models, passed over", report.get("passed_over", ()))
    if report.get("problems"):
        print_line("problems:", "red")
        for problem in report["problems"]:
            print_line(f"  {problem}")
    elif "models" in report:
        print_line("all is well", "green")


def _print_entries(what: str, entries: Sequence[dict[str, str]]) -> None:
    if entries:
        print_line(f"{what}:")
    for item in entries[:_MOST_LISTED]:
        print_line(f"  {item['path']}: {item['reason']}")
    if len(entries) > _MOST_LISTED:
        print_line(f"  and {len(entries) - _MOST_LISTED} more")


def _print_model(model: dict[str, Any]) -> None:
    print_line(f"{model['name']}  ({model['path']})", "bold")
    if model["layout"]:
        print_line(f"  layout: {model['layout']}")
    print_line(f"  configuration: {model['configuration']}")
    if model["ignored_keys"]:
        print_line(f"  keys without effect here: {', '.join(model['ignored_keys'])}")
    _print_asked(model)
    for version in model["versions"]:
        _print_version(model, version)


def _print_asked(model: dict[str, Any]) -> None:
    """What somebody asked for: a version of this command, or a pin by an earlier one."""
    if model["only"]:
        asked = ", ".join(map(str, model["only"]))
        print_line(f"  looked at: version {asked} only, as asked")
    if model["pinned"] is not None:
        print_line(f"  pinned by command to version {model['pinned']}", "yellow")
        if model["reason"]:
            print_line(f"  {model['reason']}", "yellow")


def _print_version(model: dict[str, Any], version: dict[str, Any]) -> None:
    served = "; answers unnamed requests" if version["version"] == model["default"] else ""
    reason = f": {version['reason']}" if version["reason"] else ""
    print_line(f"  version {version['version']}: {version['state']}{reason}{served}")
    if version["manifest"] is not None:
        print_line(f"    manifest: {_manifest_words(model['name'], version)}")
    for label in ("signature", "batching", "isolated", "providers", "left_out", "baseline"):
        if version.get(label):
            print_line(f"    {label.replace('_', ' ')}: {version[label]}")
    for note in version.get("notes", ()):
        print_line(f"    note: {note}", "yellow")


def _manifest_words(model: str, version: dict[str, Any]) -> str:
    found = version["manifest"]
    words = [f"created {found['created']}", f"checksums {version['checksums']}"]
    origins = ("git_commit", "mlflow_run_id", "mlflow_model_id")
    words += [f"{key} {found[key]}" for key in origins if found[key]]
    words += [f"{key}={value}" for key, value in found["metadata"].items()]
    words += [f"{key}={value:g}" for key, value in found["metrics"].items()]
    if (found["model"], found["version"]) != (model, version["version"]):
        words.append(f"published as {found['model']} {found['version']}")
    return ", ".join(words)
