"""A version's baseline of statistics, as it is loaded: whether there is one that can be used.

One that can't be is told in words and fails nothing: it decides about no answer, and a version that
serves well without it had better not be held back for it.
"""

from __future__ import annotations

from pathlib import Path

from serving.registry.manifest import baseline_of, has_manifest, read_manifest


def found_baseline(version_folder: Path) -> tuple[str, tuple[str, ...]]:
    """Its file in the version's folder, "" for none; and notes. Raises ManifestError."""
    manifest = read_manifest(version_folder) if has_manifest(version_folder) else None
    named = baseline_of(version_folder, manifest)
    if not named:
        return "", ()
    # Messages take a while to be made, and most versions have no baseline.
    from serving.statistics.baseline import why_unusable

    if why := why_unusable(version_folder, named):
        return "", (f"its baseline of statistics is not used: {why}",)
    return named, ()
