"""What the registry says of a version, as its manifest would."""

from __future__ import annotations

import datetime as dt

from serving.registry.manifest import MAX_ENTRIES, Manifest
from serving.registry.mlflow.answers import RegisteredVersion
from serving.strict import as_text

_LOGGED = "models:/m-"


def _logged(source: str) -> str:
    """The id of the logged model that it was registered from, "" where it was from none."""
    return source.removeprefix("models:/") if source.startswith(_LOGGED) else ""


def manifest_of(model: str, version: RegisteredVersion) -> Manifest:
    """Its files are listed only when they are fetched."""
    created = dt.datetime.fromtimestamp(min(version.created / 1000, 2**35), dt.UTC)
    tags = list(version.tags.items())[:MAX_ENTRIES]
    return Manifest(
        model=model,
        version=version.number,
        created=created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        files={},
        run_id=version.run_id,
        model_id=version.model_id or _logged(version.source),
        metadata={as_text(key): as_text(value) for key, value in tags},
    )
