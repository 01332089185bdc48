"""What validation reads of a schema. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from serving.validation.views import SCHEMA_BYTES, Path

# The stages in which a feature is looked at: none, BETA, PRODUCTION, VALIDATION_DERIVED.
_LIVE_STAGES = frozenset({0, 3, 4, 9})
# What a serving dataset's environment is called where the schema knows it.
SERVING = "SERVING"


@dataclass(frozen=True)
class SchemaView:
    """``message``: a Schema of ``tensorflow.metadata.v0``."""

    message: Any

    @cached_property
    def features(self) -> dict[Path, Any]:
        """Path -> Feature, those within structures too; of two of one name the first."""
        found: dict[Path, Any] = {}
        for path, feature in _walk((), self.message.feature):
            found.setdefault(path, feature)
        return found

    @cached_property
    def string_domains(self) -> dict[str, Any]:
        """Those that features name."""
        return {domain.name: domain for domain in self.message.string_domain}

    @cached_property
    def joined(self) -> set[str]:
        """The names of sparse and weighted features, which are not looked at."""
        parts = (self.message.sparse_feature, self.message.weighted_feature)
        return {feature.name for features in parts for feature in features}

    def within(self, feature: Any, environment: str | None) -> bool:
        """Whether it belongs to the environment; without one it does."""
        if environment is None or environment in feature.in_environment:
            return True
        if environment in feature.not_in_environment:
            return False
        return environment in self.message.default_environment

    def required(self, path: Path, environment: str | None) -> bool:
        feature = self.features[path]
        presence = feature.presence
        if presence.min_count <= 0 and presence.min_fraction <= 0:
            return False
        return not self.passed_over(path) and self.within(feature, environment)

    def passed_over(self, path: Path) -> bool:
        """Its stage, or that of a structure it is in, says that nobody relies on it."""
        return any(
            unused(self.features[path[:depth]])
            for depth in range(1, len(path) + 1)
            if path[:depth] in self.features
        )

    def environment(self) -> str | None:
        """Of what is served: SERVING where the schema speaks of it."""
        spoken = set(self.message.default_environment)
        for feature in self.features.values():
            spoken.update(feature.in_environment, feature.not_in_environment)
        return SERVING if SERVING in spoken else None

    def values_of(self, feature: Any) -> list[str] | None:
        """The texts that it may have; None where it isn't said."""
        match feature.WhichOneof("domain_info"):
            case "domain":
                domain = self.string_domains.get(feature.domain)
                return None if domain is None else list(domain.value)
            case "string_domain":
                return list(feature.string_domain.value)
        return None


def unused(feature: Any) -> bool:
    return bool(feature.deprecated) or feature.lifecycle_stage not in _LIVE_STAGES


def type_of(feature: Any) -> int:
    """Its type; one with texts for a domain is BYTES where none is said."""
    if feature.type == 0 and feature.WhichOneof("domain_info") in ("domain", "string_domain"):
        return SCHEMA_BYTES
    return int(feature.type)


def _walk(above: Path, features: Iterable[Any]) -> Iterable[tuple[Path, Any]]:
    for feature in features:
        path = (*above, feature.name)
        yield path, feature
        if feature.WhichOneof("domain_info") == "struct_domain":
            yield from _walk(path, feature.struct_domain.feature)
