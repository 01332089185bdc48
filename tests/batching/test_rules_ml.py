"""The rules for ``ai.onnx.ml`` are right: onnxruntime keeps apart what they keep apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.batching.one_node import ROWS, Batched, Case, check, floats, whole

ML = "ai.onnx.ml"
TABLE = Batched(floats(3))
VECTOR = Batched(floats())
TURNED = Batched(floats(3), axis=1)
COUPLED, NEVER, OPEN = "coupled", "not batchable", "open"


def ml(
    operator: str, inputs: list[Any], kind: str = "proven", outputs: Any = (0,), **rest: Any
) -> Case:
    opset = rest.pop("opset", 3)
    return Case(operator, inputs, rest, outputs, kind, ML, {ML: opset})


NODES: dict[str, Any] = {
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [1, 0, 0],
    "nodes_values": [0.1, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
    "nodes_hitrates": [1.0] * 3,
    "nodes_missing_value_tracks_true": [0] * 3,
}
REGRESSOR: dict[str, Any] = {
    "n_targets": 1,
    "target_ids": [0, 0],
    "target_nodeids": [1, 2],
    "target_treeids": [0, 0],
    "target_weights": [1.0, 2.0],
    **NODES,
}
CLASSIFIER: dict[str, Any] = {
    "class_ids": [0, 1],
    "class_nodeids": [1, 2],
    "class_treeids": [0, 0],
    "class_weights": [1.0, 2.0],
    "classlabels_int64s": [0, 1],
    **NODES,
}
ENSEMBLE: dict[str, Any] = {
    "n_targets": 1,
    "leaf_targetids": [0, 0],
    "leaf_weights": helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]),
    "nodes_falseleafs": [1],
    "nodes_featureids": [1],
    "nodes_falsenodeids": [1],
    "nodes_modes": helper.make_tensor("m", TensorProto.UINT8, [1], [0]),
    "nodes_splits": helper.make_tensor("s", TensorProto.FLOAT, [1], [0.1]),
    "nodes_trueleafs": [1],
    "nodes_truenodeids": [0],
    "tree_roots": [0],
    "opset": 5,
}
LINEAR: dict[str, Any] = {"coefficients": [1.0, 2.0, 3.0], "intercepts": [0.5]}
LOGISTIC: dict[str, Any] = {
    "coefficients": [1.0, 2.0, 3.0, -1.0, -2.0, -3.0],
    "intercepts": [0.0, 1.0],
    "classlabels_ints": [0, 1],
    "post_transform": "LOGISTIC",
}
SVM: dict[str, Any] = {
    "coefficients": [1.0, 2.0],
    "kernel_params": [0.5, 0.0, 3.0],
    "kernel_type": "RBF",
    "rho": [0.1],
    "support_vectors": [1.0, 2.0, 3.0, 0.0, -1.0, 1.0],
}
SVM_CLASSIFIER: dict[str, Any] = {**SVM, "vectors_per_class": [1, 1], "classlabels_ints": [0, 1]}
LONG: dict[str, Any] = {**SVM, "support_vectors": [1.0] * (2 * ROWS)}
# As many features as rows: only then does a model take either for the other.
AS_MANY: dict[str, Any] = {name: [float(n) for n in range(ROWS)] for name in ("offset", "scale")}
WORDS = Batched(np.array([["a"], ["b"], ["c"], ["a"], ["b"], ["x"]], object))
NUMBERS = Batched(whole(2, top=3))
CLASSES = np.array([5.0, 7.0, 9.0], np.float32)

CASES = [
    ml("Binarizer", [TABLE], threshold=0.2),
    ml("Binarizer", [VECTOR], threshold=0.2),
    ml("CategoryMapper", [WORDS], cats_strings=["a", "b"], cats_int64s=[1, 2], default_int64=-1),
    ml("LabelEncoder", [WORDS], keys_strings=["a", "b"], values_floats=[1.0, 2.0]),
    ml("OneHotEncoder", [NUMBERS], cats_int64s=[0, 1], zeros=1),
    ml("OneHotEncoder", [WORDS], cats_strings=["a", "b"], zeros=1),
    ml("Scaler", [TABLE], offset=[1.0, 2.0, 3.0], scale=[1.0, 2.0, 3.0]),
    ml("Scaler", [Batched(floats(3, 4))], offset=[1.0, 2.0, 3.0], scale=[1.0, 2.0, 3.0]),
    ml("Scaler", [VECTOR], offset=[1.0], scale=[2.0]),
    ml("Scaler", [VECTOR], COUPLED, **AS_MANY),
    ml("Scaler", [TURNED], COUPLED, ((1, 2),), **AS_MANY),
    ml("Imputer", [TABLE], imputed_value_floats=[7.0, 8.0, 9.0], replaced_value_float=0.0),
    ml("Imputer", [VECTOR], imputed_value_floats=[7.0], replaced_value_float=0.0),
    ml(
        "Imputer",
        [Batched(np.zeros(ROWS, np.float32))],
        COUPLED,
        imputed_value_floats=AS_MANY["scale"],
        replaced_value_float=0.0,
    ),
    *(ml("Normalizer", [TABLE], norm=norm) for norm in ("MAX", "L1", "L2")),
    ml("Normalizer", [VECTOR], COUPLED, norm="MAX"),
    ml("Normalizer", [TURNED], COUPLED, ((1, 2),), norm="L1"),
    ml("LinearRegressor", [TABLE], **LINEAR),
    ml("LinearRegressor", [VECTOR], COUPLED, coefficients=[1.0] * ROWS),
    ml("LinearClassifier", [TABLE], outputs=(0, 0), **LOGISTIC),
    ml("LinearClassifier", [TURNED], COUPLED, (0, 0), **LOGISTIC),
    ml("SVMRegressor", [TABLE], n_supports=2, **SVM),
    ml("SVMRegressor", [VECTOR], COUPLED, n_supports=2, **LONG),
    ml("SVMClassifier", [TABLE], outputs=(0, 0), **SVM_CLASSIFIER),
    ml("SVMClassifier", [VECTOR], COUPLED, (0, 0), **{**SVM_CLASSIFIER, **LONG}),
    ml("TreeEnsemble", [TABLE], **ENSEMBLE),
    ml("TreeEnsemble", [TURNED], COUPLED, **ENSEMBLE),
    ml("TreeEnsembleRegressor", [TABLE], **REGRESSOR),
    ml("TreeEnsembleRegressor", [TURNED], COUPLED, **REGRESSOR),
    ml("TreeEnsembleClassifier", [TABLE], outputs=(0, 0), **CLASSIFIER),
    ml("TreeEnsembleClassifier", [TURNED], COUPLED, (0, 0), **CLASSIFIER),
    ml("FeatureVectorizer", [TABLE, Batched(floats(2))], inputdimensions=[3, 2]),
    ml("FeatureVectorizer", [VECTOR, VECTOR], COUPLED, inputdimensions=[1, 1]),
    ml("FeatureVectorizer", [TABLE, np.ones((1, 2), np.float32)], NEVER, inputdimensions=[3, 2]),
    ml("ArrayFeatureExtractor", [TABLE, np.array([0, 2])]),
    ml("ArrayFeatureExtractor", [VECTOR, np.array([0])], COUPLED, ((1, 2),)),
    ml("ArrayFeatureExtractor", [TURNED, np.array([0])], COUPLED, ((1, 2),)),
    ml("ArrayFeatureExtractor", [CLASSES, Batched(whole(1, top=3))], outputs=((1, 2),)),
    ml("ArrayFeatureExtractor", [CLASSES[None], Batched(whole(top=3))], outputs=((1, 2),)),
    ml("ArrayFeatureExtractor", [TABLE, Batched(whole(1, top=3))], COUPLED),
    ml("ArrayFeatureExtractor", [CLASSES, Batched(whole(2, top=3), 1)], OPEN, ((1, 2),)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_are_said_to_stay_apart_where_they_do(case: Case) -> None:
    check(case)
