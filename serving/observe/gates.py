"""What Prometheus is told of gates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from serving.models.gate_figures import GateFigures
from serving.observe import families
from serving.observe.families import Sample
from serving.observe.prometheus import Exposition


def add_gates(exposition: Exposition, gates: GateFigures) -> None:
    exposition.add(families.GATE_VERDICTS, lambda: _verdicts(gates))
    exposition.add(families.GATE_SECONDS, lambda: _of_models(gates.seconds().items()))
    exposition.add(families.GATE_WAITING, lambda: _of_models(gates.waiting().items()))
    exposition.add(families.GATE_RUNNING, lambda: [({}, gates.running)])


def _verdicts(gates: GateFigures) -> Iterator[Sample]:
    for (model, verdict), count in sorted(gates.verdicts().items()):
        yield {"model": model, "verdict": verdict}, count


def _of_models(found: Iterable[tuple[str, float]]) -> Iterator[Sample]:
    for model, value in sorted(found):
        yield {"model": model}, value
