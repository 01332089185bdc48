"""``serving start``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli import options
from serving.cli.output import UserError, styled

if TYPE_CHECKING:
    from serving.app import Gateway
    from serving.models.views import ModelView, VersionView
    from serving.observe.lines import LineWriter
    from serving.settings import Settings

# EX_TEMPFAIL of sysexits.h: another try may go better.
_STATE_HELD = 75

_PortOption = Annotated[int | None, typer.Option(metavar="PORT", help="0: any free one.")]


def start(
    roots: options.Roots,
    http_port: _PortOption = None,
    grpc_port: _PortOption = None,
    host: Annotated[str | None, typer.Option(help="Address of the HTTP and gRPC doors.")] = None,
    admin_port: _PortOption = None,
    admin_host: Annotated[str | None, typer.Option(help="Address of the admin port.")] = None,
    admin_token_file: Annotated[
        Path | None, typer.Option(help="File with the token that control calls must bring.")
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="Where the gateway keeps pins, unloads and what trials found out."),
    ] = None,
    model_control: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="How versions come and go: poll (as DIR says), explicit (when told),"
            " both (as DIR says until told otherwise).",
        ),
    ] = None,
    load_model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A model that explicit loads at start; '*': all."),
    ] = None,
    config: options.ConfigFile = None,
    assignments: options.Set = None,
) -> None:
    """Serve the models below DIR until SIGTERM.

    Readiness goes false first, requests are still answered for a while, what is in flight
    ends, and the exit status is 0. A second signal ends at once.
    """
    flags = {
        "http_port": http_port,
        "grpc_port": grpc_port,
        "host": host,
        "admin_port": admin_port,
        "admin_host": admin_host,
        "admin_token_file": admin_token_file,
        "state_dir": state_dir,
        "model_control": model_control,
        "load_models": tuple(load_model) if load_model else None,
    }
    settings, origins = options.load(flags, config, assignments)
    options.configure_log(settings)
    gateway = _gateway(settings, roots, origins)

    from serving import app

    _print_build()
    _print_addresses(gateway)
    app.leave(
        app.serve(
            gateway,
            on_change=_print_version,
            on_ready=lambda: _print_ready(gateway),
            on_stop=lambda: _say("stopping; a second signal ends at once"),
        )
    )


def _gateway(settings: Settings, roots: Sequence[Path], origins: dict[str, str]) -> Gateway:
    try:
        from serving.app import Gateway
        from serving.control.admin import AddressError
    except ImportError as error:
        raise UserError(missing(error)) from None
    from serving.errors import ConfigError
    from serving.state_opening import StateHeldError

    try:
        return Gateway(settings, roots, origins)
    except StateHeldError as error:
        raise UserError(str(error), code=_STATE_HELD) from None
    except (AddressError, ConfigError) as error:
        raise UserError(str(error)) from None


def missing(error: ImportError) -> str:
    """What to install, in words."""
    name = error.name or ""
    if "_core" in str(error):
        return "the native core is not built: run 'make' in the project, or install a wheel"
    if name.startswith("onnxruntime"):
        return "onnxruntime is missing: install 'serving[cpu]' or 'serving[gpu]'"
    return f"'{name or error}' is missing: install the package 'serving' with its dependencies"


def url(address: tuple[str, int], scheme: str = "http") -> str:
    """Where a client on this machine reaches the address."""
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port}" if scheme else f"{host}:{port}"


@cache
def _stdout() -> LineWriter:
    from serving.observe.lines import LineWriter

    return LineWriter(sys.stdout)


def _say(text: str, style: str = "") -> None:
    """Whoever reads this may leave, or not read at all; the gateway goes on."""
    _stdout().write(styled(text, style) + "\n")


def _print_build() -> None:
    from serving import _core

    if _core.DEVELOPMENT_BUILD:
        _say("development build; `make build` for full speed", "yellow")


def _print_addresses(gateway: Gateway) -> None:
    _say(f"HTTP   {url(gateway.http_address)}")
    _say(f"gRPC   {url(gateway.grpc_address, '')}")
    _say(f"admin  {url(gateway.admin_address)}  (/metrics, /api/v1/models)")
    _say(f"pid    {os.getpid()}")


def _print_version(name: str, version: VersionView) -> None:
    if str(version.state) != "READY":
        _say(f"{name} {version.number}: failed: {version.reason}", "red")
        return
    threads = f"{version.threads} thread{'' if version.threads == 1 else 's'}"
    instances = "" if version.instances == 1 else f", {version.instances} instances"
    _say(
        f"{name} {version.number}: ready on {version.provider}, {threads}{instances};"
        f" {version.batching_words}"
    )


def _print_ready(gateway: Gateway) -> None:
    from serving.cli.samples import curl_line

    models = gateway.models()
    ready = [_answering(view) for view in models if view.default is not None]
    _say(f"ready: {', '.join(ready) or 'no model yet'}", "green")
    line = curl_line(url(gateway.http_address), models)
    if line:
        _say("try it:")
        _say(f"  {line}")


def _answering(view: ModelView) -> str:
    others = [str(v.number) for v in view.versions if str(v.state) == "READY"]
    also = [number for number in others if number != str(view.default)]
    return f"{view.name} {view.default}" + (f" (also {', '.join(also)})" if also else "")
