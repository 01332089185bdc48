"""What is told of a version beside its figures: where it comes from and how it runs."""

from __future__ import annotations

import platform
import socket

from serving import __version__
from serving.models.views import VersionView
from serving.observe.tracking.exporter import RunFacts
from serving.settings import Settings

# Those that change how a version answers.
_SETTINGS = (
    "batching.enabled",
    "batching.max_rows",
    "batching.delay_us",
    "batching.max_queue_requests",
    "limits.request_timeout_s",
    "isolation.mode",
    "tracking.window_s",
)


def server_name(settings: Settings) -> str:
    """Of many gateways with the same name, this machine's."""
    return f"{settings.name}@{socket.gethostname()}"


def facts_of(model: str, version: VersionView, settings: Settings) -> RunFacts:
    manifest, known = version.origin.manifest, version.facts
    flat = settings.flat()
    params = {
        "model": model,
        "version": str(version.number),
        "server": server_name(settings),
        "serving_version": __version__,
        "python": platform.python_version(),
        "provider": known.provider,
        "provider_nodes": ", ".join(f"{k}: {n}" for k, n in sorted(known.provider_nodes.items())),
        "threads": str(known.threads),
        "instances": str(known.instances),
        "permits": str(settings.permits),
        "batching": known.batching,
        "max_batch_rows": str(known.max_rows),
        "isolated": known.isolated or "no",
        "memory_bytes": str(known.memory_bytes or ""),
        "load_seconds": f"{known.load_seconds:.3f}" if known.load_seconds is not None else "",
        **{f"settings/{key}": str(flat[key]) for key in _SETTINGS},
    }
    if manifest is None:
        return RunFacts(model, version.number, version.ready_since or 0.0, params)
    params |= {
        "training_run_id": manifest.run_id,
        "git_commit": manifest.git_commit,
        "model_id": manifest.model_id,
        "published": manifest.created,
    }
    return RunFacts(
        model,
        version.number,
        version.ready_since or 0.0,
        params,
        manifest.git_commit,
        manifest.run_id,
        manifest.model_id,
    )
