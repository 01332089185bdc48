"""What is found wrong, and TFX's message of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.statistics.metadata import messages
from serving.validation.paths import serialized
from serving.validation.views import Path

ERROR, WARNING = "ERROR", "WARNING"
# Anomalies.AnomalyNameFormat
_SERIALIZED_PATH = 1


@dataclass(frozen=True, slots=True)
class Anomaly:
    """``type``: a name of TFX's ``AnomalyInfo.Type``. ``short``: a few words for a table.
    ``description``: what was expected and what came."""

    type: str
    short: str
    description: str


def types() -> Mapping[str, int]:
    """TFX's names of anomalies, with their numbers."""
    return dict(messages.AnomalyInfo.Type.items())


def told(anomalies: Sequence[Anomaly], severities: Mapping[str, str], path: Path = ()) -> Any:
    """The AnomalyInfo of one feature, or, without a path, of the dataset. ``severities``: by
    type, where it isn't ERROR."""
    info = messages.AnomalyInfo()
    for each in anomalies:
        reason = info.reason.add()
        reason.type = messages.AnomalyInfo.Type.Value(each.type)
        reason.short_description = each.short
        reason.description = each.description
    info.description = " ".join(each.description for each in anomalies)
    info.short_description = anomalies[0].short if len(anomalies) == 1 else "Several anomalies"
    info.severity = messages.AnomalyInfo.Severity.Value(_worst(anomalies, severities))
    if path:
        info.path.step.extend(path)
    return info


def collected(
    schema: Any,
    found: Mapping[Path, Sequence[Anomaly]],
    dataset: Sequence[Anomaly],
    severities: Mapping[str, str],
) -> Any:
    """The Anomalies of a dataset: by feature, and of the whole."""
    result = messages.Anomalies()
    result.baseline.CopyFrom(schema)
    result.anomaly_name_format = _SERIALIZED_PATH
    for path, anomalies in found.items():
        if anomalies:
            key = serialized(path)
            result.anomaly_info[key].CopyFrom(told(anomalies, severities, path))
    if dataset:
        result.dataset_anomaly_info.CopyFrom(told(dataset, severities))
    return result


def rows(anomalies: Any) -> Iterable[dict[str, str]]:
    """One for each reason, as the admin API tells them: ``feature`` (empty: the whole dataset),
    ``type``, ``short``, ``description``, ``severity``."""
    for _, info in sorted(anomalies.anomaly_info.items()):
        yield from _reasons(info)
    if anomalies.HasField("dataset_anomaly_info"):
        yield from _reasons(anomalies.dataset_anomaly_info)


def _reasons(info: Any) -> Iterable[dict[str, str]]:
    for reason in info.reason:
        yield {
            "feature": ".".join(info.path.step),
            "type": messages.AnomalyInfo.Type.Name(reason.type),
            "short": reason.short_description,
            "description": reason.description,
            "severity": messages.AnomalyInfo.Severity.Name(info.severity),
        }


def _worst(anomalies: Sequence[Anomaly], severities: Mapping[str, str]) -> str:
    given = {severities.get(each.type, ERROR) for each in anomalies}
    return ERROR if ERROR in given else WARNING
