"""Object stores as the settings name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.errors import ConfigError
from serving.registry.object_store.address import checked
from serving.registry.object_store.kept import KeptStore
from serving.registry.object_store.look import StoreLook, Terms
from serving.registry.object_store.store import Store
from serving.registry.remote.cache import Cache
from serving.registry.remote.polled import PolledSource
from serving.settings import Settings
from serving.state_dir import StateDir

SETTING = "registry.stores"
_MOST = 64


@dataclass(frozen=True, slots=True)
class FollowedStore:
    url: str
    source: PolledSource
    look: StoreLook


def urls_of(settings: Settings) -> Sequence[str]:
    """Each once. Raises ConfigError."""
    found = list(dict.fromkeys(checked(url, SETTING) for url in settings.registry.stores))
    if len(found) > _MOST:
        raise ConfigError(f"{SETTING}: more than {_MOST}")
    return found


def open_stores(
    settings: Settings,
    state: StateDir,
    cache: Cache,
    mono: Callable[[], float],
    wall: Callable[[], float],
) -> Sequence[FollowedStore]:
    """Nothing is asked yet. Raises ConfigError."""
    registry = settings.registry
    terms = Terms(registry.store_poll_s, registry.settle_s, mono, wall)
    found = []
    for url in urls_of(settings):
        store = Store(url, registry.store_timeout_s, watched=True)
        look = StoreLook(url, store, cache, KeptStore(state, url), terms)
        source = PolledSource(
            look.place, look, 2 * registry.store_timeout_s, look.kept, discovers=True
        )
        look.arrived = source.hint
        found.append(FollowedStore(url, source, look))
    return found
