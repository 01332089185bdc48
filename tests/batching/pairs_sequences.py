"""Sequences, texts, what is drawn at random, and control flow."""

from __future__ import annotations

from tests.batching.pairs import COUNT, Pair, beside, case

NO_KERNEL = "onnxruntime's CPU provider has no kernel for it"
_Z = "int64[1] z0 = {0}"
_ROWS_IN_TIME = "u = Unsqueeze(x, z0) "


def _recurrent(name: str, gates: int) -> Pair:
    def weights(columns: int) -> str:
        size = gates * 2 * columns
        return "{" + ", ".join(str((at % 5 - 2) / 4) for at in range(size)) + "}"

    held = (
        f"float[1,{gates * 2},3] w = {weights(3)}, float[1,{gates * 2},2] r = {weights(2)},"
        " int64[1] z0 = {0}, int64[2] h = {-1, 2}, int64[1] z1 = {1}"
    )
    return Pair(
        name,
        case(
            f"t = Transpose<perm=[1,0,2]>(x) q, e = {name}<hidden_size=2>(t, w, r,, l)"
            " y = Squeeze(e, z0)",
            held,
            inputs="float[n,2,3] x, int32[n] l",
            given={"l": [1, 2, 1, 2, 2, 1, 2]},
        ),
        case(
            f"t = Unsqueeze(x, z1) q, e = {name}<hidden_size=2>(t, w, r) y = Reshape(q, h)",
            held,
            inputs="float[n,3] x",
        ),
    )


_HEADS = "q_num_heads=1, kv_num_heads=1"
_SEQUENCE = {"inputs": "float[n,3,4] x", "output": "float[n,3,k] y"}

SEQUENCES = [
    _recurrent("RNN", 1),
    _recurrent("GRU", 3),
    _recurrent("LSTM", 4),
    Pair(
        "Attention",
        case(f"y = Attention<{_HEADS}>(x, x, x)", opset=23, **_SEQUENCE),
        case(_ROWS_IN_TIME + f"q = Attention<{_HEADS}>(u, u, u) y = Squeeze(q, z0)", _Z, opset=23),
    ),
    Pair(
        "LinearAttention",
        case(
            f'y, p = LinearAttention<{_HEADS}, update_rule="linear">(x, x, x)',
            opset=27,
            **_SEQUENCE,
        ),
        case(
            _ROWS_IN_TIME
            + f'q, p = LinearAttention<{_HEADS}, update_rule="linear">(u, u, u) y = Squeeze(q, z0)',
            _Z,
            opset=27,
        ),
    ),
    Pair(
        "CausalConvWithState",
        case(
            "y, p = CausalConvWithState(x, w)",
            "float[1,1,2] w = {1, 2}",
            inputs="float[n,1,4] x",
            output="float[n,k,l] y",
            opset=27,
        ),
        case(
            _ROWS_IN_TIME + "q, p = CausalConvWithState(u, w) y = Squeeze(q, z0)",
            "int64[2] z0 = {0, 1}, float[1,1,2] w = {1, 2}",
            inputs="float[n] x",
            output="float[n] y",
            opset=27,
        ),
    ),
    Pair(
        "RotaryEmbedding",
        case(
            "y = RotaryEmbedding<num_heads=1>(x, c, c, i)",
            "float[4,2] c = {1, 2, 3, 4, 5, 6, 7, 8}",
            inputs="float[n,3,4] x, int64[n,3] i",
            output="float[n,3,k] y",
            opset=23,
        ),
        case(
            "y = RotaryEmbedding<num_heads=1>(x, c, c)",
            "float[1,1,2] c = {1, 2}",
            inputs="float[n,1,4] x",
            output="float[n,1,k] y",
            opset=23,
        ),
    ),
]

TEXTS = [
    Pair(
        "StringNormalizer",
        case(
            'y = StringNormalizer<case_change_action="UPPER", locale="C">(x)',
            inputs="string[n] x",
            output="string[n] y",
        ),
        case(
            'y = StringNormalizer<stopwords=["a"], locale="C">(x)',
            inputs="string[n] x",
            output="string[m] y",
            given={"x": ["a", "bc", "d e", "a"]},
        ),
    ),
    Pair(
        "TfIdfVectorizer",
        case(
            'y = TfIdfVectorizer<mode="TF", min_gram_length=1, max_gram_length=1, max_skip_count=0,'
            " ngram_counts=[0], ngram_indexes=[0,1], pool_int64s=[0,1]>(x)",
            inputs="int64[n,3] x",
        ),
        case(
            'f = TfIdfVectorizer<mode="TF", min_gram_length=1, max_gram_length=1, max_skip_count=0,'
            " ngram_counts=[0], ngram_indexes=[0,1], pool_int64s=[0,1]>(x)"
            " c = Cast<to=1>(x) u = Unsqueeze(c, a) y = Add(u, f)",
            "int64[1] a = {1}",
            inputs="int64[n] x",
        ),
    ),
    Pair(
        "StringSplit",
        case("p, y = StringSplit(x)", inputs="string[n] x", output="int64[n] y", opset=20),
        case("y, l = StringSplit(x)", inputs="string[n] x", output="string[n,k] y", opset=20),
    ),
]

_RANDOM = "no two runs draw the same"

DRAWN = [
    *(Pair(n, _RANDOM, case(f"y = {n}(x)")) for n in ("RandomNormalLike", "RandomUniformLike")),
    *(
        Pair(n, _RANDOM, beside(f"r = {n}<shape=[1,4]>()"))
        for n in ("RandomNormal", "RandomUniform")
    ),
    Pair("Bernoulli", _RANDOM, case("a = Sigmoid(x) y = Bernoulli(a)")),
    Pair("Multinomial", _RANDOM, case("y = Multinomial<sample_size=9>(x)", output="int32[n,k] y")),
]

CONTROL = [
    Pair(
        "If",
        case(
            "s = Shape(x) l = Gather(s, z) c = Greater(l, z)"
            " y = If(c)<then_branch = a () => (float[n,k] p) { p = Relu(x) },"
            " else_branch = b () => (float[n,k] q) { q = Neg(x) }>",
            "int64[1] z = {1}",
        ),
        case(
            "c = Greater(x, z) y = If(c)<then_branch = a () => (float[n] p) { p = Identity(x) },"
            " else_branch = b () => (float[n] q) { q = Neg(x) }>",
            "float z = {0}",
            inputs="float[n] x",
            output="float[n] y",
        ),
    ),
    Pair(
        "Loop",
        case(
            "y = Loop(m, c, x)<body = b (int64 i, bool d, float[n,k] v) => (bool e, float[n,k] w)"
            " { e = Identity(d) w = Add(v, x) }>",
            "int64 m = {3}, bool c = {1}",
        ),
        case(
            COUNT + "y = Loop(n, c, x)<body = b (int64 i, bool d, float[n,k] v) =>"
            " (bool e, float[n,k] w) { e = Identity(d) w = Add(v, x) }>",
            "bool c = {1}",
        ),
    ),
    Pair(
        "Scan",
        case(
            "s = Shape(x) n = Gather(s, z0) h = ConstantOfShape(n) e, y = Scan<num_scan_inputs=1,"
            " scan_input_axes=[1], scan_output_axes=[1], body = b (float[n] a, float[n] v) =>"
            " (float[n] w, float[n] o) { w = Add(a, v) o = Identity(w) }>(h, x)",
            _Z,
        ),
        case(
            "e, y = Scan<num_scan_inputs=1, body = b (float[4] a, float[4] v) =>"
            " (float[4] w, float[4] o) { w = Add(a, v) o = Identity(w) }>(h, x)",
            "float[4] h = {0, 0, 0, 0}",
        ),
    ),
]

PAIRS = [*SEQUENCES, *TEXTS, *DRAWN, *CONTROL]
