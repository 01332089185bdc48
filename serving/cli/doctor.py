"""``serving doctor``."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from serving.cli import options
from serving.cli.output import print_json, print_table

if TYPE_CHECKING:
    from serving.settings import Settings

_LIBRARIES = (
    "numpy",
    "protobuf",
    "pydantic",
    "pyyaml",
    "structlog",
    "starlette",
    "uvicorn",
    "h11",
    "typer",
    "prometheus-client",
    "grpcio",
)


class Finding(NamedTuple):
    """``problem`` says what to do about it; empty where all is well."""

    area: str
    name: str
    value: str
    problem: str = ""
    # Whether the gateway can't run like this.
    fatal: bool = False


def doctor(
    config: options.ConfigFile = None,
    assignments: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Show what this machine and installation offer, and what is wrong with them.

    The exit status is 0 when nothing is, 1 when there is a problem, 2 for a wrong setting.
    """
    settings, _ = options.load({}, config, assignments)
    findings = [
        *_versions(),
        *_runtime(),
        *_machine(settings),
        *_files(settings),
        *_environment(),
        *_locale(),
        *_ports(settings),
    ]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(
            ("AREA", "WHAT", "VALUE", "PROBLEM"),
            [(f.area, f.name, f.value, f.problem) for f in findings],
        )
    if any(f.problem for f in findings):
        raise typer.Exit(1)


def _versions() -> Iterator[Finding]:
    from serving import __version__

    yield Finding("versions", "serving", __version__)
    try:
        from serving import _core

        core = Finding("versions", "core", _core.__version__)
        if _core.__version__ != __version__:
            core = core._replace(problem="built from another version: build it again")
        yield core
    except ImportError:
        yield Finding("versions", "core", "absent", "build it, or install a wheel", fatal=True)
    yield Finding("versions", "python", platform.python_version())
    yield Finding("versions", "system", f"{platform.system()} {platform.machine()}")
    for library in _LIBRARIES:
        yield Finding("versions", library, _installed(library) or "absent")


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _runtime() -> Iterator[Finding]:
    both = [d for d in ("onnxruntime", "onnxruntime-gpu") if _installed(d)]
    words = ", ".join(f"{d} {_installed(d)}" for d in both) or "absent"
    problem = "they overwrite each other: uninstall both, then install one" if both[1:] else ""
    yield Finding("onnxruntime", "installed", words, problem)
    telemetry_off = os.environ.get("ORT_DISABLE_TELEMETRY") == "1"
    yield Finding("onnxruntime", "telemetry", "off" if telemetry_off else "left on by request")
    from serving.errors import ConfigError
    from serving.execution.runtime import ort

    try:
        providers = ort().get_available_providers()
    except ConfigError as error:
        yield Finding("onnxruntime", "import", "fails", str(error), fatal=True)
        return
    yield Finding("onnxruntime", "execution providers", ", ".join(providers))


def _machine(settings: Settings) -> Iterator[Finding]:
    from serving import machine

    quota, limit = machine.cpu_quota(), machine.memory_limit()
    yield Finding("CPUs", "by affinity", str(machine.affinity_cpus()))
    yield Finding("CPUs", "by cgroup quota", "no quota" if quota is None else f"{quota:.2f}")
    yield Finding("threads", "within an operator", str(settings.intra_op_threads))
    yield Finding("threads", "across operators", str(settings.threads.inter_op))
    shared = "yes" if settings.threads.shared_pool else "no"
    yield Finding("threads", "shared by all models", shared)
    yield Finding("threads", "I/O", str(settings.io_threads))
    yield Finding("threads", "batches at once", str(settings.permits))
    yield Finding("memory", "physical", _mebibytes(machine.physical_memory()))
    yield Finding("memory", "cgroup limit", "no limit" if limit is None else _mebibytes(limit))
    yield Finding("memory", "for requests", _mebibytes(settings.process_bytes))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def _locale() -> Iterator[Finding]:
    from serving.execution.text_locale import USUAL, how_to_get, is_there

    # No problem of a gateway without such models, and a container rarely has it.
    absent = f"absent; only some text models need it: {how_to_get()}"
    yield Finding("locale", USUAL, "there" if is_there() else absent)


def _files(settings: Settings) -> Iterator[Finding]:
    from serving import descriptors

    now, most = descriptors.limit_now(), descriptors.limit_raised()
    wanted = settings.limits.max_connections
    places = descriptors.places(wanted, most)
    value = f"{_count(now)}, raised to {_count(most)} by the server"
    yield Finding("files", "open at once", value)
    problem = places.advice if places.clients < wanted else ""
    yield Finding("files", "for client connections", f"{places.clients} of {wanted}", problem)
    yield Finding("files", "state directory", _state_words(settings.state_dir))


def _state_words(folder: Path | None) -> str:
    """Where it is, and which gateway has it; looked up without touching its lock."""
    from serving.cli.ports import process_words
    from serving.state_lock import described, running_holder

    if folder is None:
        return "none"
    if process := running_holder(folder):
        with suppress(OSError):  # it ended just now
            return f"{folder}: held by {process_words(process)}"
    last = described(folder)
    return f"{folder}: last held by {last}" if last else str(folder)


def _environment() -> Iterator[Finding]:
    from serving.settings import ignored_environment

    for variable, reason, mistaken in ignored_environment():
        yield Finding("environment", variable, "ignored", reason if mistaken else "")


def _count(limit: int | None) -> str:
    return "no limit" if limit is None else str(limit)


def _ports(settings: Settings) -> Iterator[Finding]:
    from serving.cli.ports import holder, places, running_gateway
    from serving.control.admin import AddressError, listen

    found = places(settings)
    running = {place: running_gateway(place) for place in found}
    processes = {holder(place.port) for place in found if running[place]} - {""}
    for place in found:
        address = f"{place.host}:{place.port}"
        who = running[place] or holder(place.port)
        if running[place] or who in processes:
            yield Finding("ports", place.door, f"{address}: {running[place] or 'the same gateway'}")
            continue
        try:
            listen(place.host, place.port, place.door).close()
            yield Finding("ports", place.door, f"{address} is free")
        except AddressError as error:
            by = f": {who}" if who else ""
            words = f"{str(error).rpartition(': ')[2]}{by}; {place.flag} chooses another"
            yield Finding("ports", place.door, address, words)
