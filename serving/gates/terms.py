"""What one model's gates ask, of the settings, the file of gates and the model's own. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from serving.model_config.gates import EvaluationConfig, GatesConfig
from serving.model_config.schema import ModelConfig
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Terms:
    """``safe_to_serve``: whether the requests of the answering version are run, in at most
    ``p99_factor`` times its time (0: in any); ``evaluation`` None: there is no evaluation set."""

    safe_to_serve: bool
    p99_factor: float
    evaluation: EvaluationConfig | None
    min_examples: int

    def digest(self, data: str = "") -> str:
        """Of all that a verdict hangs on; ``data``: what the evaluation set's file looks like."""
        evaluation = self.evaluation
        inputs = sorted(evaluation.inputs.items()) if evaluation is not None else []
        text = repr((self, inputs, data))
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def terms_of(
    model: str, config: ModelConfig, settings: Settings, given: Mapping[str, GatesConfig]
) -> Terms | None:
    """None: the model has no gates. ``given``: those of the file, by model."""
    gates = given.get(model, config.gates)
    asked = gates.safe_to_serve
    safe = settings.gates.safe_to_serve if asked is None else asked
    evaluation = gates.evaluation
    if evaluation is not None and asked is None:
        safe = True
    if not safe and evaluation is None:
        return None
    factor = settings.gates.p99_factor if gates.p99_factor is None else gates.p99_factor
    least = settings.gates.min_examples
    if evaluation is not None and evaluation.min_examples is not None:
        least = evaluation.min_examples
    return Terms(safe, factor, evaluation, least)
