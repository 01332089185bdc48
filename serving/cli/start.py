"""``serving start``."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli import options
from serving.cli.console import opened
from serving.cli.output import UserError
from serving.cli.ports import advice
from serving.stop_signals import StopSignals

if TYPE_CHECKING:
    from serving.app import Gateway
    from serving.settings import Settings

# EX_TEMPFAIL of sysexits.h: another try may go better.
_STATE_HELD = 75

_PortOption = Annotated[int | None, typer.Option(metavar="PORT", help="0: any free one.")]


def start(
    places: options.Places = None,
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
    model_config_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="TensorFlow Serving's model config list, beside DIR or alone."
        ),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="mlflow",
            help="Follow models of MLflow's registry (settings registry.mlflow.*), beside DIR or"
            " alone.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[@ALIAS]",
            help="A model of that registry, and the alias that says which version answers.",
        ),
    ] = None,
    require_models: Annotated[
        bool | None,
        typer.Option("--require-models", help="End with status 4 where nothing can be served."),
    ] = None,
    config: options.ConfigFile = None,
    assignments: options.Set = None,
) -> None:
    """Serve the models below DIR, bare files, and those that a list or a registry names, until
    SIGTERM.

    Readiness goes false first, requests are still answered for a while, what is in flight
    ends, and the exit status is 0. A second signal ends at once. With --require-models it is 4
    where nothing could be served at the start.
    """
    from serving.on_demand import OnDemand

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
        "tensorflow_serving.config_file": model_config_file,
        "require_models": require_models,
        "registry.mlflow.models": tuple(model) if model else None,
        "registry.stores": tuple(one for one in places or () if isinstance(one, str)) or None,
    }
    roots = [one for one in places or () if isinstance(one, Path)]
    _check_registry(registry, model)
    reloads = OnDemand("reload", lambda: gateway.reload())  # noqa: PLW0108 - it comes later
    # From here on: the first process of a container would not see them otherwise.
    with StopSignals().handled(reloads.ask) as signals:
        settings, origins = options.load(flags, config, assignments)
        if registry and not settings.registry.mlflow.models:
            raise UserError("--registry mlflow: name its models by --model NAME[@ALIAS]", code=2)
        registries = (settings.registry.mlflow.models, settings.registry.stores)
        others = (settings.tensorflow_serving.config_file, *registries)
        if not roots and not any(others):
            raise UserError(
                "nothing to serve: name a directory with models, a model's file, an object"
                " store's URL, --model-config-file FILE, or --registry mlflow --model NAME",
                code=2,
            )
        console, said = opened(settings.log)
        options.configure_log(settings, leave_out=said)
        gateway = _gateway(settings, roots, origins)
        _keep_what_is_there()

        from serving import running
        from serving.cli.telling import Telling, print_addresses

        print_addresses(console, gateway)
        telling = Telling(console, gateway)
        gateway.manager.on_change(telling.changes)
        code = running.serve(
            gateway,
            signals,
            reloads,
            on_wait=telling.progress,
            on_ready=telling.ready,
            on_stop=telling.stopping,
            on_stopped=telling.stopped,
        )
    running.leave(code)


def _check_registry(registry: str | None, models: list[str] | None) -> None:
    if registry not in (None, "mlflow"):
        raise UserError(f"--registry: expected 'mlflow', got '{registry}'", code=2)
    if models and registry is None:
        raise UserError("--model: name the registry, too: --registry mlflow", code=2)


def _keep_what_is_there() -> None:
    """From now on no collection, which stops every Python thread, goes through what is there; nor
    would it free what is garbage already, so that goes first."""
    gc.collect()
    gc.freeze()
    gc.enable()


def _gateway(settings: Settings, roots: Sequence[Path], origins: dict[str, str]) -> Gateway:
    try:
        from serving.app import Gateway
        from serving.control.admin import AddressError
    except ImportError as error:
        raise UserError(missing(error)) from None
    from serving.errors import ConfigError
    from serving.state_opening import NoDirectoryError, StateHeldError

    try:
        return Gateway(settings, roots, origins)
    except StateHeldError as error:
        raise UserError(str(error), code=_STATE_HELD) from None
    except NoDirectoryError as error:
        raise UserError(str(error), code=2) from None
    except AddressError as error:
        raise UserError("\n".join(advice(settings)) or str(error)) from None
    except ConfigError as error:
        raise UserError(str(error)) from None


def missing(error: ImportError) -> str:
    """What to install, in words."""
    name = error.name or ""
    if "_core" in str(error):
        return "the native core is not built: run 'make' in the project, or install a wheel"
    if name.startswith("onnxruntime"):
        return "onnxruntime is missing: install 'serving[cpu]' or 'serving[gpu]'"
    return f"'{name or error}' is missing: install the package 'serving' with its dependencies"
