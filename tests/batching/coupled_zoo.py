"""Small models whose rows influence each other: none may ever be called proven."""

from __future__ import annotations

from . import (
    coupled_axis0,
    coupled_count,
    coupled_data,
    coupled_mixed,
    coupled_places,
    coupled_scales,
    coupled_traps,
)

ZOOS = (
    coupled_scales,
    coupled_axis0,
    coupled_count,
    coupled_mixed,
    coupled_data,
    coupled_traps,
    coupled_places,
)
COUPLED = [entry for one in ZOOS for entry in one.zoo.entries]
