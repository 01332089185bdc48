"""Recommenders, tabular networks and boosted trees, as their converters write them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .build import I64, ML, F, Graph, Zoo, f32, feeds, i64, rng, weights
from .exports_vision import PYTORCH
from .independent_layers import A_TWO, B_ONE, batch_norm, dense
from .independent_shapes import dim, shape

zoo = Zoo()
entries = zoo.entries
LIGHTGBM = "LightGBM (onnxmltools)"
XGBOOST = "XGBoost (onnxmltools)"


def sparse(rows: int) -> dict[str, np.ndarray]:
    """Four numbers and three categories a row."""
    numbers = f32(rng(rows).normal(size=(rows, 4)))
    return feeds(numbers, i64(rng(rows).integers(0, 9, size=(rows, 3))), names="x ids")


SPARSE = [sparse(1), sparse(3)]


def fields(g: Graph) -> tuple[str, str]:
    return g.input("x", "batch", 4), g.input("ids", "batch", 3, kind=I64)


@zoo.add(PYTORCH, *SPARSE)
def dlrm(g: Graph) -> None:
    """A table a category, all pairs by a bmm, the lower triangle by constant indices."""
    x, ids = fields(g)
    bottom = g.op("Relu", dense(g, x, 4, 4))
    parts = [g.op("Unsqueeze", bottom, [1])]
    for number in range(3):
        column = g.op("Gather", ids, np.int64(number), axis=1)
        table = weights(9, 4, seed=number)
        parts.append(g.op("Unsqueeze", g.op("Gather", table, column), [1]))
    z = g.op("Concat", *parts, axis=1)
    pairs = g.op("MatMul", z, g.op("Transpose", z, perm=[0, 2, 1]))
    flat = g.op("Reshape", pairs, shape(g, dim(g, x, 0), -1))
    lower = [4 * i + j for i in range(4) for j in range(i)]
    z = g.op("Concat", bottom, g.op("Gather", flat, i64(lower), axis=1), axis=1)
    g.output(g.op("Sigmoid", dense(g, z, 10, 1)), "batch", 1)


@zoo.add(PYTORCH, *SPARSE)
def deepfm(g: Graph) -> None:
    x, ids = fields(g)
    ids = g.op("Add", ids, i64([[0, 9, 18]]))
    e = g.op("Gather", weights(27, 4), ids)
    total = g.op("Pow", g.op("ReduceSum", e, [1], keepdims=0), 2.0)
    squares = g.op("ReduceSum", g.op("Pow", e, 2.0), [1], keepdims=0)
    second = g.op("ReduceSum", g.op("Mul", g.op("Sub", total, squares), 0.5), [1])
    first = g.op("ReduceSum", g.op("Gather", weights(27, 1), ids), [1], keepdims=0)
    deep = g.op("Concat", g.op("Reshape", e, [-1, 12]), x, axis=1)
    deep = g.op("Relu", batch_norm(g, dense(g, deep, 16, 8), 8))
    z = g.op("Add", g.op("Add", first, second), dense(g, deep, 8, 1))
    g.output(g.op("Squeeze", g.op("Sigmoid", z), [1]), "batch")


def sparsemax(g: Graph, z: str, size: int) -> str:
    ordered, _ = g.ops("TopK", z, [size], outputs=2, axis=1)
    total = g.op("Sub", g.op("CumSum", ordered, np.int64(1)), 1.0)
    counted = f32([range(1, size + 1)])
    support = g.op("Greater", g.op("Mul", counted, ordered), total)
    k = g.op("ReduceSum", g.op("Cast", support, to=I64), [1], keepdims=1)
    at = g.op("GatherElements", total, g.op("Sub", k, np.int64(1)), axis=1)
    return g.op("Max", g.op("Sub", z, g.op("Div", at, g.op("Cast", k, to=F))), 0.0)


@zoo.add(PYTORCH, A_TWO, B_ONE)
def tabnet(g: Graph) -> None:
    x = batch_norm(g, g.input("x", "batch", 4), 4)
    prior, decisions = g.op("Expand", f32([[1]]), g.op("Shape", x)), []
    for step in range(2):
        mask = sparsemax(g, g.op("Mul", prior, dense(g, x, 4, 4, seed=step)), 4)
        prior = g.op("Mul", prior, g.op("Sub", 1.3, mask))
        z = dense(g, g.op("Mul", mask, x), 4, 6)
        left, right = g.ops("Split", z, [3, 3], outputs=2, axis=1)
        decisions.append(g.op("Relu", g.op("Mul", left, g.op("Sigmoid", right))))
    g.output(dense(g, g.op("Sum", *decisions), 3, 2), "batch", 2)


@zoo.add(PYTORCH, *SPARSE)
def ft_transformer(g: Graph) -> None:
    x, ids = fields(g)
    numbers = g.op("Mul", g.op("Unsqueeze", x, [-1]), weights(4, 4))
    e = g.op("Gather", weights(27, 4), g.op("Add", ids, i64([[0, 9, 18]])))
    token = g.op("Expand", weights(1, 1, 4), shape(g, dim(g, x, 0), 1, 1))
    z = g.op("Concat", token, numbers, e, axis=1)
    scores = g.op("Softmax", g.op("MatMul", z, g.op("Transpose", z, perm=[0, 2, 1])), axis=-1)
    z = g.op("Slice", g.op("MatMul", scores, z), [0], [1], [1])
    g.output(dense(g, g.op("Squeeze", z, [1]), 4, 2), "batch", 2)


@zoo.add(PYTORCH, A_TWO, B_ONE)
def n_beats(g: Graph) -> None:
    residue, forecasts = g.input("x", "batch", 4), []
    for block in range(2):
        hidden = g.op("Relu", dense(g, residue, 4, 6, seed=block))
        residue = g.op("Sub", residue, dense(g, hidden, 6, 4, seed=3))
        forecasts.append(dense(g, hidden, 6, 2, seed=4))
    g.output(g.op("Add", *forecasts), "batch", 2)


@zoo.add(PYTORCH, *(feeds(i64(rng(s).integers(0, 9, size=(s, 5))), names="ids") for s in (1, 2)))
def bag_of_embeddings_with_weights(g: Graph) -> None:
    ids = g.input("ids", "batch", "bag", kind=I64)
    e = g.op("Gather", weights(9, 4), ids)
    w = g.op("Softmax", g.op("Squeeze", g.op("Gather", weights(9, 1), ids), [2]), axis=1)
    z = g.op("MatMul", g.op("Unsqueeze", w, [1]), e)
    g.output(g.op("Squeeze", z, [1]), "batch", 4)


@zoo.add(PYTORCH, A_TWO, B_ONE)
def mixture_of_experts_by_a_soft_gate(g: Graph) -> None:
    x = g.input("x", "batch", 4)
    gate = g.op("Softmax", dense(g, x, 4, 3), axis=1)
    best, chosen = g.ops("TopK", gate, [2], outputs=2, axis=1)
    zeros = g.op("ConstantOfShape", g.op("Shape", gate))
    gate = g.op("ScatterElements", zeros, chosen, best, axis=1)
    experts = g.op("Einsum", x, weights(3, 4, 2), equation="ni,eio->neo")
    z = g.op("Mul", experts, g.op("Unsqueeze", gate, [2]))
    g.output(g.op("ReduceSum", z, [1], keepdims=0), "batch", 2)


# Two trees of one split over 4 features

NODES: dict[str, Any] = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1],
    "nodes_nodeids": [0, 1, 2, 0, 1, 2],
    "nodes_featureids": [0, 0, 0, 2, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "LEAF"],
    "nodes_values": [0.1, 0.0, 0.0, -0.3, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0, 1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
    "nodes_missing_value_tracks_true": [1, 0, 0, 1, 0, 0],
}


def leaves(kind: str, ids: list[int]) -> dict[str, Any]:
    return {
        f"{kind}_treeids": [0, 0, 1, 1],
        f"{kind}_nodeids": [1, 2, 1, 2],
        f"{kind}_ids": ids,
        f"{kind}_weights": [0.4, -0.6, 0.3, 0.2],
    }


def boosted_classes(g: Graph, x: str, after: str, **more: Any) -> list[str]:
    every = NODES | leaves("class", [0, 1, 1, 0]) | {"classlabels_int64s": [0, 1]} | more
    return g.ops("TreeEnsembleClassifier", x, outputs=2, domain=ML, post_transform=after, **every)


@zoo.add(LIGHTGBM, A_TWO, B_ONE, opset=9)
def lightgbm_classifier(g: Graph) -> None:
    """Its converter states the label's shape as [1]; here it is left open."""
    label, scores = boosted_classes(g, g.input("x", None, 4), "SOFTMAX")
    g.output(g.op("Cast", g.op("Identity", label), to=I64), None, kind=I64)
    g.output(g.op("Mul", g.op("Identity", scores), 0.5), None, 2)


@zoo.add(LIGHTGBM, A_TWO, B_ONE, opset=9)
def lightgbm_regressor(g: Graph) -> None:
    x = g.input("x", None, 4)
    made = g.ml("TreeEnsembleRegressor", x, n_targets=1, **NODES, **leaves("target", [0] * 4))
    g.output(g.op("Identity", made), None, 1)


@zoo.add(XGBOOST, A_TWO, B_ONE)
def xgboost_classifier(g: Graph) -> None:
    label, scores = boosted_classes(g, g.input("x", None, 4), "SOFTMAX", base_values=[0.5, 0.1])
    g.output(label, None, kind=I64)
    g.output(scores, None, 2)


@zoo.add(XGBOOST, A_TWO, B_ONE)
def xgboost_regressor(g: Graph) -> None:
    more = NODES | leaves("target", [0] * 4) | {"base_values": [0.5]}
    g.output(g.ml("TreeEnsembleRegressor", g.input("x", None, 4), n_targets=1, **more), None, 1)
