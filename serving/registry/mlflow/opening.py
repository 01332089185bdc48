"""MLflow's registry as the settings name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from serving.credentials import shown
from serving.errors import ConfigError
from serving.operations import Operation
from serving.registry.aliases import why_no_alias
from serving.registry.mlflow.api import connect, server_of
from serving.registry.mlflow.asked import asked_models, tag_rules
from serving.registry.mlflow.kept import KeptModels
from serving.registry.mlflow.look import Following, MlflowLook
from serving.registry.mlflow.webhook import operation
from serving.registry.remote.cache import Cache
from serving.registry.remote.polled import PolledSource
from serving.settings import Settings
from serving.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class FollowedRegistry:
    """``uri``: without secrets; ``webhook``: what its deliveries come to."""

    uri: str
    source: PolledSource
    look: MlflowLook
    webhook: Operation


def identity(settings: Settings) -> str:
    """What the state that is kept of the registry goes by; "" where none is followed. Raises
    ConfigError."""
    return f"mlflow:{shown(server_of(settings))}" if settings.registry.mlflow.models else ""


def open_registry(
    settings: Settings,
    state: StateDir,
    cache: Cache,
    mono: Callable[[], float],
    wall: Callable[[], float],
) -> FollowedRegistry | None:
    """None where no model of it is to be served. Nothing is asked yet. Raises ConfigError."""
    own = settings.registry.mlflow
    asked = asked_models(own.models, "registry.mlflow.models")
    rules = tag_rules(own.tags, "registry.mlflow.tags")
    if not asked:
        return None
    uri = shown(server_of(settings))
    configs = settings.registry.configs
    if configs is not None and not configs.is_dir():
        raise ConfigError(f"registry.configs: {configs} is no directory")
    place = Path("mlflow") / (urlsplit(uri).netloc or "registry")
    following = Following(uri, place, asked, rules, own.poll_s, configs, mono, wall)
    kept = KeptModels(state, uri)
    look = MlflowLook(following, partial(connect, settings), cache, kept, why_no_alias)
    source = PolledSource(place, look, 2 * own.timeout_s)
    secret = own.webhook_secret.get_secret_value()
    webhook = operation(secret, {one.name for one in asked}, source.hint)
    return FollowedRegistry(uri, source, look, webhook)
