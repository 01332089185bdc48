"""How many threads a version's session gets, where nobody said.

onnxruntime makes a session's threads with it, whether its operators are large enough to be shared
among them or not: on 16 CPUs a thousand small models had 15,000 threads that never woke.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from serving.execution.onnx_nodes import Graph, Model
from serving.loading.batching.verdict import BatchingVerdict
from serving.loading.trial.findings import Findings
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from serving.signature import Signature


def in_force(config: ModelConfig, settings: Settings, found: Findings | None) -> ModelConfig:
    """The configuration to open the session with: with one thread within an operator where its
    trial showed that no run uses more, and neither settings nor configuration say how many."""
    if found is None or not found.one_thread or found.grows:
        return config
    said = settings.threads.intra_op or config.session.intra_op_threads
    if said or settings.threads.shared_pool:
        return config
    return replace(config, session=replace(config.session, intra_op_threads=1))


def has_branches(model: Model) -> bool:
    """Whether a request may decide what is computed: what was measured is one branch then."""

    def within(graph: Graph) -> bool:
        return any(
            node.operator == "If" or any(map(within, node.graphs.values())) for node in graph.nodes
        )

    return any(map(within, (model.graph, *model.functions.values())))


def says_it_all(
    signature: Signature, verdict: BatchingVerdict, seconds: Mapping[int, float]
) -> bool:
    """Whether no request can make a run that is larger than those measured (``seconds``: rows ->
    the time of a run): texts have no size of their own, every other axis has one in the graph but
    for rows that are cut to batches, and the largest batch is among them."""
    if any(tensor.datatype == "BYTES" for tensor in signature.inputs):
        return False
    cut = verdict.max_rows > 0 and verdict.may_cut
    dims = [dim for tensor in signature.inputs for dim in tensor.shape[1 if cut else 0 :]]
    return (verdict.max_rows or 1) in seconds and all(dim >= 0 for dim in dims)
