"""Which names can stand for a version. Clients ask by them, so the core says."""

from __future__ import annotations


def why_no_alias(name: str) -> str:
    """Why that can't be another name for a version, "" where it can."""
    # Here, so that the loop can be tested without the built core.
    from serving import _core

    try:
        _core.check_alias(name)
    except ValueError as error:
        return str(error)
    return ""
