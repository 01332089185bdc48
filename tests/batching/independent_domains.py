"""Independent rows: classical learners, words, and onnxruntime's own operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from .build import I64, MS, STRING, Graph, Zoo, f32, feeds, i64, rng, weights
from .independent_layers import A_TWO, B_ONE, IDS, IMAGES, STEPS

zoo = Zoo()
LEARNERS = "ai.onnx.ml"
FUSED = "com.microsoft"
TREES: dict[str, Any] = {
    "nodes_treeids": [0] * 5,
    "nodes_nodeids": [0, 1, 2, 3, 4],
    "nodes_featureids": [0, 2, 0, 0, 0],
    "nodes_values": [0.1, -0.2, 0.0, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 3, 0, 0, 0],
    "nodes_falsenodeids": [2, 4, 0, 0, 0],
    "nodes_hitrates": [1.0] * 5,
    "nodes_missing_value_tracks_true": [0] * 5,
}


@zoo.add(LEARNERS, A_TWO, B_ONE)
def tree_regressor(g: Graph) -> None:
    leaves = {
        "treeids": [0] * 3,
        "nodeids": [2, 3, 4],
        "ids": [0] * 3,
        "weights": [1.5, -2.0, 0.25],
    }
    targets = {f"target_{key}": value for key, value in leaves.items()}
    g.output(
        g.ml("TreeEnsembleRegressor", g.input("x", "n", 4), n_targets=1, **TREES, **targets), "n", 1
    )


@zoo.add(LEARNERS, A_TWO, B_ONE)
def tree_classifier(g: Graph) -> None:
    leaves = {
        "treeids": [0] * 3,
        "nodeids": [2, 3, 4],
        "ids": [0, 1, 2],
        "weights": [1.0, 1.0, 1.0],
    }
    classes = {f"class_{key}": value for key, value in leaves.items()}
    more = {"classlabels_strings": ["a", "b", "c"], "domain": "ai.onnx.ml"}
    x = g.input("x", "n", 4)
    label, scores = g.ops("TreeEnsembleClassifier", x, outputs=2, **more, **TREES, **classes)
    g.output(label, "n", kind=STRING)
    g.output(scores, "n", 3)


@zoo.add(LEARNERS, A_TWO, B_ONE)
def scaled_and_classified_linearly(g: Graph) -> None:
    x = g.ml(
        "Scaler", g.input("x", "n", 4), offset=[0.1, 0.2, 0.3, 0.4], scale=[2.0, 1.0, 0.5, 1.0]
    )
    more = {
        "coefficients": weights(8).tolist(),
        "intercepts": [0.1, -0.1],
        "classlabels_ints": [3, 5],
    }
    label, scores = g.ops(
        "LinearClassifier", x, outputs=2, domain="ai.onnx.ml", post_transform="SOFTMAX", **more
    )
    g.output(label, "n", kind=I64)
    g.output(g.ml("Normalizer", scores, norm="L1"), "n", 2)


@zoo.add(LEARNERS, A_TWO, B_ONE)
def support_vector_classifier(g: Graph) -> None:
    more: dict[str, Any] = {
        "classlabels_ints": [0, 1],
        "coefficients": [1.0, -1.0, 0.5],
        "kernel_params": [0.5, 0.0, 3.0],
        "kernel_type": "RBF",
        "rho": [0.1],
        "support_vectors": weights(12).tolist(),
        "vectors_per_class": [1, 2],
    }
    x = g.input("x", "n", 4)
    label, scores = g.ops("SVMClassifier", x, outputs=2, domain="ai.onnx.ml", **more)
    g.output(label, "n", kind=I64)
    g.output(scores, "n", None)


@zoo.add(LEARNERS, A_TWO, B_ONE)
def support_vector_regressor(g: Graph) -> None:
    more = {
        "coefficients": [1.0, -1.0],
        "kernel_params": [0.5, 0.0, 3.0],
        "kernel_type": "LINEAR",
        "rho": [0.1],
        "n_supports": 2,
    }
    z = g.ml("SVMRegressor", g.input("x", "n", 4), support_vectors=weights(8).tolist(), **more)
    g.output(z, "n", 1)


@zoo.add(LEARNERS, A_TWO, B_ONE)
def imputed_binarised_and_selected(g: Graph) -> None:
    x = g.ml(
        "Imputer", g.input("x", "n", 4), imputed_value_floats=[0.0], replaced_value_float=np.nan
    )
    x = g.ml("FeatureVectorizer", x, g.ml("Binarizer", x, threshold=0.2), inputdimensions=[4, 4])
    x = g.ml("ArrayFeatureExtractor", x, i64([0, 5, 6]))
    z = g.ml("LinearRegressor", x, coefficients=[1.0, 2.0, 3.0], intercepts=[0.5])
    g.output(z, "n", 1)


WORDS = [feeds(np.array([["cat"], ["dog"]], object)), feeds(np.array([["cow"]], object))]


@zoo.add(LEARNERS, *WORDS)
def words_encoded_one_hot(g: Graph) -> None:
    x = g.input("x", "n", 1, kind=STRING)
    hot = g.ml("OneHotEncoder", x, cats_strings=["cat", "dog"], zeros=1)
    g.output(g.op("Reshape", hot, [-1, 2]), "n", 2)


@zoo.add(LEARNERS, *WORDS)
def words_looked_up(g: Graph) -> None:
    keys = {"keys_strings": ["cat", "dog"], "values_int64s": [3, 4], "default_int64": 0}
    number = g.ml("LabelEncoder", g.input("x", "n", 1, kind=STRING), **keys)
    g.output(g.op("Gather", weights(5, 3), g.op("Squeeze", number, [1])), "n", 3)


@zoo.add(LEARNERS, *IDS)
def counts_of_ngrams(g: Graph) -> None:
    more: dict[str, Any] = {"min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 0}
    pool = {"ngram_counts": [0, 2], "ngram_indexes": [0, 1, 2], "pool_int64s": [3, 4, 5, 6]}
    z = g.op("TfIdfVectorizer", g.input("x", "n", 5, kind=I64), mode="TF", **more, **pool)
    g.output(g.ml("Normalizer", z, norm="L2"), "n", 3)


@zoo.add(LEARNERS, *WORDS)
def strings_untouched(g: Graph) -> None:
    g.output(g.op("Identity", g.input("x", "n", 1, kind=STRING)), "n", 1, kind=STRING)


@zoo.add(LEARNERS, *WORDS, opset=20)
def strings_matched_and_joined(g: Graph) -> None:
    x = g.input("x", "n", 1, kind=STRING)
    g.output(g.op("StringConcat", x, np.array(["!"], object)), "n", 1, kind=STRING)
    g.output(g.op("RegexFullMatch", x, pattern="c.*"), "n", 1, kind=9)


TEXTS = [feeds(np.array(["a b a"], object)), feeds(np.array(["b c d e b", "a"], object))]


@zoo.add(LEARNERS, *TEXTS)
def words_of_texts_counted(g: Graph) -> None:
    """The tokenizer pads to the longest text; the vectorizer knows no padding."""
    marks = {"mark": 0, "mincharnum": 1, "pad_value": "#", "separators": [" "]}
    words = g.ms("Tokenizer", g.input("x", "n", kind=STRING), **marks)
    more: dict[str, Any] = {"min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0}
    pool = {"ngram_counts": [0], "ngram_indexes": [0, 1], "pool_strings": ["a", "b"]}
    g.output(g.op("TfIdfVectorizer", words, mode="TF", **more, **pool), "n", 2)


# onnxruntime's own operators, as its optimizer writes them


@zoo.add(FUSED, *STEPS)
def fused_matmul_and_gelu(g: Graph) -> None:
    x = g.input("x", "n", 5, 4)
    z = g.ms("FusedMatMul", x, x, transB=1, alpha=0.5)
    z = g.ms("BiasGelu", g.op("MatMul", z, x), weights(4))
    g.output(g.ms("FastGelu", g.ms("Gelu", g.ms("QuickGelu", z))), "n", 5, 4)


@zoo.add(FUSED, *STEPS)
def skip_layer_normalisation(g: Graph) -> None:
    x, one = g.input("x", "n", 5, 4), np.ones(4, np.float32)
    z = g.ms("SkipLayerNormalization", x, g.op("Relu", x), one, 0 * one, weights(4))
    g.output(g.ms("SkipSimplifiedLayerNormalization", z, x, one), "n", 5, 4)


@zoo.add(FUSED, *IMAGES)
def fused_convolution(g: Graph) -> None:
    x = g.input("x", "n", 3, 8, 8)
    g.output(g.ms("FusedConv", x, weights(2, 3, 3, 3), weights(2), activation="Relu"), "n", 2, 6, 6)


@zoo.add(FUSED, A_TWO, B_ONE)
def fused_gemm(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.ms("FusedGemm", x, weights(4, 3), weights(3), activation="Relu"), "n", 3)


@zoo.add(FUSED, *STEPS)
def fused_attention(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    g.output(g.ms("Attention", x, weights(4, 12), weights(12), num_heads=2), "n", "s", 4)


MASKED = [
    feeds(one["x"], np.tril(np.ones((5, 5), np.int32))[2 : 2 + len(one["x"])], names="x mask")
    for one in STEPS
]


@zoo.add(FUSED, *MASKED)
def fused_attention_with_a_mask(g: Graph) -> None:
    x, mask = g.input("x", "n", "s", 4), g.input("mask", "n", "s", kind=6)
    g.output(g.ms("Attention", x, weights(4, 12), weights(12), mask, num_heads=2), "n", "s", 4)


@zoo.add(FUSED, *STEPS)
def fused_attention_of_several_heads(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    q, k, v = (g.op("MatMul", x, weights(4, 4, seed=s)) for s in (1, 2, 3))
    g.output(g.ms("MultiHeadAttention", q, k, v, num_heads=2), "n", "s", 4)


TOKENS = [feeds(one["x"].astype(np.int32), names="ids") for one in IDS]


@zoo.add(FUSED, *TOKENS)
def fused_embeddings(g: Graph) -> None:
    ids = g.input("ids", "n", "s", kind=6)
    one = np.ones(4, np.float32)
    tables = (weights(10, 4), weights(8, 4, seed=1), weights(2, 4, seed=2))
    kinds = g.op("ConstantOfShape", g.op("Shape", ids), value=zero_int32())
    made = g.ops("EmbedLayerNormalization", ids, kinds, *tables, one, 0 * one, outputs=2, domain=MS)
    g.output(made[0], "n", "s", 4)


def zero_int32() -> object:
    from onnx import helper

    return helper.make_tensor("zero", 6, [1], [0])


@zoo.add(FUSED, A_TWO, B_ONE)
def weights_quantised_in_blocks(g: Graph) -> None:
    x = g.op("Tile", g.input("x", "n", 4), [1, 4])
    packed = rng(1).integers(0, 255, size=(3, 1, 8)).astype(np.uint8)
    scales = f32([0.1, 0.2, 0.3])
    z = g.ms("MatMulNBits", x, packed, scales, K=16, N=3, bits=4, block_size=16)
    g.output(z, "n", 3)


@zoo.add(FUSED, A_TWO, B_ONE)
def quantised_additions(g: Graph) -> None:
    q = g.op("QuantizeLinear", g.input("x", "n", 4), 0.05, np.uint8(128))
    zero = np.uint8(128)
    z = g.ms("QLinearAdd", q, 0.05, zero, q, 0.05, zero, 0.1, zero)
    z = g.ms("QLinearSigmoid", z, 0.1, zero, 1 / 256, np.uint8(0))
    g.output(g.op("DequantizeLinear", z, 1 / 256, np.uint8(0)), "n", 4)


@zoo.add(FUSED, *STEPS, opset=23)
def normalisation_and_attention_of_opset_23(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    z = g.op("RMSNormalization", x, np.ones(4, np.float32), axis=-1)
    z = g.op("Attention", z, z, z, q_num_heads=2, kv_num_heads=2)
    g.output(g.op("Gelu", z, approximate="tanh"), "n", "s", 4)


@zoo.add(FUSED, A_TWO, B_ONE)
def distances_to_constant_centres(g: Graph) -> None:
    z = g.ms("CDist", g.input("x", "n", 4), weights(3, 4), metric="sqeuclidean")
    g.output(z, "n", 3)
