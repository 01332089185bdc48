"""What Prometheus and operators are told of what is written back to MLflow's registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import Field

from serving.observe import families
from serving.observe.families import Sample
from serving.observe.prometheus import Exposition
from serving.operations import Form
from serving.write_back.promotion import Promotion
from serving.write_back.writer import WriteBack, WriteBackStatus


class PromotionInfo(Form):
    """A model's last promotion, as MLflow's registry is to show it."""

    model: str
    version: int = Field(description="That was promoted.")
    stands: bool = Field(description="Whether it is in force; else it was taken back.")
    waits: bool = Field(description="Whether something is still to be written.")
    said: str = Field(description="What came of it last.")


class WriteBackTarget(Form):
    """What is written back. ``outcomes``: since the gateway started."""

    target: str = Field(description="MLflow's server, without secrets.")
    alias: str = Field(description='That names the promoted version; "": none.')
    tags: dict[str, str] = Field(description="Of promoted versions.")
    verdicts: bool
    verdict_tag: str = Field(description='"": none.')
    note: str = Field(description='Why less is written than the settings say; "": all is.')
    outcomes: dict[str, dict[str, int]] = Field(
        description="What came of aliases, tags and verdicts: written, unchanged, left_alone,"
        " refused, dropped."
    )
    waiting: int = Field(description="Promotions and verdicts that are still to be written.")
    failures: int = Field(description="Attempts that failed.")
    last_success: float | None = Field(description="Seconds since the epoch.")
    last_failure: float | None = Field(description="Seconds since the epoch.")
    error: str = Field(description='Why it does not work now; "": it does.')
    last_error: str = Field(description="The last failure's words, also when it works again.")
    promotions: list[PromotionInfo]


def told(write_back: WriteBack) -> dict[str, Any]:
    """As ``WriteBackTarget``."""
    status, outcomes = write_back.status(), dict[str, dict[str, int]]()
    for (kind, outcome), count in write_back.outcomes.snapshot().items():
        outcomes.setdefault(kind, {})[outcome] = count
    terms = status.terms
    return {
        "target": status.target,
        "alias": terms.alias,
        "tags": dict(terms.tags),
        "verdicts": terms.verdicts,
        "verdict_tag": terms.verdict_tag,
        "note": terms.note,
        "outcomes": outcomes,
        "waiting": status.waiting,
        "failures": status.failures,
        "last_success": status.last_success,
        "last_failure": status.last_failure,
        "error": status.error,
        "last_error": status.last_error,
        "promotions": [_promotion(one) for one in status.promotions],
    }


def _promotion(one: Promotion) -> dict[str, Any]:
    return {
        "model": one.model,
        "version": one.candidate,
        "stands": one.stands,
        "waits": one.waits,
        "said": one.said,
    }


def add_write_back(exposition: Exposition, write_back: WriteBack | None) -> None:
    """None: the families have no samples."""
    exposition.add(families.WRITE_BACK, lambda: _outcomes(write_back))
    exposition.add(families.WRITE_BACK_WAITING, lambda: _of(write_back, lambda s: s.waiting))
    exposition.add(families.WRITE_BACK_FAILURES, lambda: _of(write_back, lambda s: s.failures))


def _outcomes(write_back: WriteBack | None) -> Iterator[Sample]:
    if write_back is not None:
        for (kind, outcome), count in sorted(write_back.outcomes.snapshot().items()):
            yield {"what": kind, "outcome": outcome}, count


def _of(write_back: WriteBack | None, figure: Callable[[WriteBackStatus], int]) -> Iterator[Sample]:
    if write_back is not None:
        yield {}, figure(write_back.status())
