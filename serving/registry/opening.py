"""Where models come from beside directories, as the settings have it."""

from __future__ import annotations

import time
from pathlib import Path

from serving.registry.mlflow import opening as mlflow
from serving.registry.model_list.source import ListTerms, ModelListFile, ModelListSource
from serving.registry.object_store.opening import urls_of
from serving.settings import Settings


def places_of(settings: Settings) -> list[Path | str]:
    """That models come from beside directories."""
    file, registry = settings.tensorflow_serving.config_file, mlflow.identity(settings)
    return [*filter(None, [file]), *filter(None, [registry]), *urls_of(settings)]


def open_model_list(settings: Settings) -> ModelListSource | None:
    """None where no list can come. Raises ConfigError for a file that can't be followed."""
    given = settings.tensorflow_serving
    if given.config_file is None and settings.model_control == "poll":
        return None
    file = ModelListFile(given.config_file.absolute()) if given.config_file is not None else None
    terms = ListTerms(settings.registry, given.config_poll_s, time.time, time.monotonic)
    return ModelListSource(file, terms)
