"""Models that were once called proven, though rows moved: each kind of mistake, once."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.helper import make_attribute, make_node, make_opsetid

from serving.execution.protobuf_write import field_of, varint_of
from tests.batching.pairs import COUNT, COUNTS, case
from tests.batching.witness import Case, verdict_of, what_moved

_ONES = COUNTS + "h = Concat<axis=0>(ns, o) c = ConstantOfShape<value = float[1] {1}>(h) "
# Rows at which "w" is not 0, as if there were one for each.
_FOUND = "f = Reshape(w, m) q = NonZero(f) i = Reshape(q, m) y = Gather(x, i)"
_LISTS = "int64[1] o = {1}, int64[1] m = {-1}"
_SLOPE = [[1, 2, 3, 4], [np.inf, 5, 6, 7], [np.nan] * 4, [1, 2, 3, 4], [0, 0, 0, 0]]
# r is [s, n]; l is [s, n, -1], of a size that only looks equal.
_REGROUPED = (
    "g = Reshape(r, l) p = Transpose<perm=[1,0,2]>(g) k0 = Concat<axis=0>(ns, m) y = Reshape(p, k0)"
)

_FUNCTION = """<domain: "local", opset_import: ["" : 17]> found (v) => (s)
{ q = NonZero(v) a = Shape(q) b = Constant<value_ints=[1]>() s = Gather(a, b) }"""


def _words(mark: int, pad: bytes, pool: bytes) -> Case:
    """How often a word stands in each text."""
    split = make_node("Tokenizer", ["x"], ["t"], domain="com.microsoft", mark=mark, pad_value=pad)
    split.attribute.extend([make_attribute("mincharnum", 1), make_attribute("separators", [" "])])
    terms = {"min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0, "mode": "TF"}
    places = {"ngram_counts": [0], "ngram_indexes": [0], "pool_strings": [pool]}
    counted = make_node("TfIdfVectorizer", ["t"], ["y"], **terms, **places)
    texts = {"x": ["", "a a", "b a c", ""]}
    more = ModelProto(graph=GraphProto(node=[split, counted]))
    more.opset_import.append(make_opsetid("com.microsoft", 1))
    return case("", inputs="string[n] x", given=texts, more=more.SerializeToString())


WRONG = {
    "marks of an empty text": _words(1, b"#", b"\x02"),
    "a fill that is no text": _words(0, b"\xff", b"\xff"),
    "ones that something was scattered over": case(
        _ONES
        + "z = ConstantOfShape<value = int64[1] {0}>(h) w = ScatterElements<axis=1>(c, z, u) "
        + _FOUND,
        _LISTS,
        inputs="float[n,4] x, float[n,1] u",
    ),
    "ones beside zeros of a pad": case(
        _ONES + "e = Pad(c, p) w = Slice(e, z1, o, o) " + _FOUND,
        f"{_LISTS}, int64[4] p = {{0, 1, 0, 0}}",
    ),
    "what ones pick from a table": case(
        COUNTS + "c = ConstantOfShape<value = int64[1] {1}>(ns) w = Gather(k, c) " + _FOUND,
        f"{_LISTS}, float[2] k = {{5, 0}}",
    ),
    "row numbers, spread and flattened": case(
        COUNT + "o = Constant<value_int=1>() r = Range(z0, n, o) a = Unsqueeze(r, j) s0 = Shape(x)"
        " e = Expand(a, s0) f = Reshape(e, m) c = Cast<to=1>(f) b = Reshape(c, s0) y = Add(x, b)",
        "int64[1] j = {1}, int64[1] m = {-1}",
    ),
    "row numbers that pick within rows": case(
        COUNT + "o = Constant<value_int=1>() r = Range(z0, n, o) a = Unsqueeze(r, j)"
        " y = GatherND<batch_dims=1>(x, a)",
        "int64[1] j = {1}",
        inputs="float[n,8] x",
        output="float[n] y",
    ),
    "no axes to squeeze, which means all": case(
        "y = Squeeze(x, e)", "int64[0] e = {}", inputs="float[n,1,4] x", output="float[n,k,l] y"
    ),
    "one part of a stated size": case("y = Split<axis=0>(x, e)", "int64[1] e = {1}"),
    "one part of a stated size, an attribute": case("y = Split<axis=0, split=[1]>(x)", opset=11),
    "a table read at the number of rows": case(
        COUNTS + "a = Add(ns, o) c = Slice(k, ns, a) d = Squeeze(c, z1) y = Clip(x, d)",
        "int64[1] o = {1}, float[9] k = {1, 2, 3, 4, 5, 6, 7, 8, 9}",
    ),
    "neighbours weighed by 0": case(
        'y = Resize<mode="linear">(x,, f)', "float[2] f = {1, 2}", given={"x": _SLOPE}
    ),
    "neighbours weighed by 0, of three dimensions": case(
        'u = Unsqueeze(x, j) q = Resize<mode="linear">(u,, f) y = Squeeze(q, j)',
        "float[3] f = {1, 1, 2}, int64[1] j = {1}",
        given={"x": _SLOPE},
    ),
    "scales for the blocks of one row": case(
        "y = QuantizeLinear<axis=1, block_size=2>(x, w)",
        "float[1,2] w = {1, 2}",
        output="uint8[n,k] y",
        opset=21,
    ),
    "a constant dropped at random": case(
        "d = Dropout(w, a, t) l = Gather(d, z) y = Clip(x, l)",
        "float[3] w = {1, 2, 3}, float a = {0.5}, bool t = {1}, int64 z = {1}",
    ),
    "choices by a condition that is broadcast": case(
        "b = Cast<to=9>(c) w = Where(b, p, q) l = Slice(w, o, e, z) k = Slice(l, z, o, o)"
        " f = Reshape(k, o) y = Slice(x, f, e, z)",
        "int64[1,2] c = {0, 1}, int64[2,2] p = {5, 5, 5, 9}, int64[2,2] q = {5, 5, 1, 9},"
        " int64[1] o = {1}, int64[1] e = {99999999999}, int64[1] z = {0}",
    ),
    "a loop that doubles a dimension": case(
        "t = Transpose(x) r = Loop(o, c, t)<body = b (int64 i, bool d, float[a,e] v) =>"
        " (bool d1, float[f,e] w) { d1 = Identity(d) w = Concat<axis=0>(v, v) }>"
        " h = Shape(x) ns = Gather(h, z1) ss = Gather(h, j) l = Concat<axis=0>(ss, ns, m) "
        + _REGROUPED,
        "int64 o = {1}, bool c = {1}, int64[1] z1 = {0}, int64[1] j = {1}, int64[1] m = {-1}",
        inputs="float[n,s] x",
    ),
    "a difference that Reshape reads as 0": case(
        "h = Shape(x) ns = Gather(h, z1) ss = Gather(h, j) d = Sub(ss, e)"
        " a = Concat<axis=0>(ns, d, j) b = Reshape(x, a) c = Transpose<perm=[1,0,2]>(b)"
        " k = Concat<axis=0>(j, d, ns, m) f = Reshape(c, k) g = Transpose<perm=[2,0,1,3]>(f)"
        " l = Concat<axis=0>(ns, m) y = Reshape(g, l)",
        "int64[1] z1 = {0}, int64[1] j = {1}, int64[1] m = {-1}, int64[1] e = {3}",
        inputs="float[n,s] x",
    ),
    "two sizes that one function finds": case(
        "h = Shape(x) ns = Gather(h, z1) a = local.found(v) b = local.found(w) t = Transpose(x)"
        " k = Concat<axis=0>(a, ns) r = Expand(t, k) l = Concat<axis=0>(b, ns, m) " + _REGROUPED,
        "float16[2] v = {1, 1}, float16[2] w = {1, 0}, int64[1] z1 = {0}, int64[1] m = {-1}",
        inputs="float[n,1] x",
        functions=_FUNCTION,
    ),
}

_TURNED = "t = Transpose(x) u = Softmax<axis=0>(t) y = Transpose(u)"
_OTHER = '<domain: "ai.onnx", opset_import: ["" : 17]> '


def _later(*nodes: NodeProto) -> bytes:
    """Nodes behind those of the text."""
    return bytes(ModelProto(graph=GraphProto(node=nodes)).SerializeToString())


def _taken_twice() -> bytes:
    """A constant in two parts: [2] and the element 0; the element 1."""
    first = TensorProto(dims=[2], int64_data=[0])
    second = TensorProto(int64_data=[1], data_type=TensorProto.INT64)
    parts = [first.SerializeToString(), second.SerializeToString()]
    whole = AttributeProto(name="value", type=AttributeProto.TENSOR).SerializeToString()
    whole += b"".join(field_of(5, part) for part in parts)
    constant = NodeProto(op_type="Constant", output=["e"]).SerializeToString()
    nodes = _later(make_node("ReduceSum", ["x", "e"], ["r"]), make_node("Sub", ["x", "r"], ["y"]))
    return bytes(field_of(7, field_of(1, constant + field_of(5, whole))) + nodes)


def _zeros_by_256() -> bytes:
    """x plus how many of as many zeros as there are rows are not 0."""
    zero = TensorProto(dims=[1], int32_data=[256], data_type=TensorProto.UINT8)
    made = [
        make_node("ConstantOfShape", ["ns"], ["c"], value=zero),
        make_node("NonZero", ["c"], ["q"]),
        make_node("Shape", ["q"], ["h"], start=1),
        make_node("Sub", ["ns", "h"], ["d"]),
        make_node("Cast", ["d"], ["f"], to=TensorProto.FLOAT),
        make_node("Add", ["x", "f"], ["y"]),
    ]
    return _later(*made)


def _listed(name: str, elem_type: int, number: int) -> bytes:
    """An initializer of one element, of a number that its type can't hold."""
    tensor = TensorProto(name=name, dims=[1], data_type=elem_type).SerializeToString()
    return field_of(7, field_of(5, tensor + field_of(5, varint_of(number))))


# The number of rows, and a quarter of three columns.
_SIZES = COUNTS + "ss = Gather(s, j) q = Div(ss, four) "
_OF_SIZES = "int64[1] j = {1}, int64[1] m = {-1}, int64[1] four = {4}"
# x and how much the number of rows differs from d.
_DIFFERENCE = " v = Sub(ns, d) w = Cast<to=1>(v) y = Add(x, w)"
_INNER = '<domain: "local", opset_import: ["" : 17, "local" : 1]> '
WRONG |= {
    "a function that has an operator's name": case(
        "y = CumSum(x, z)",
        "int64 z = {0}",
        functions='<domain: "", opset_import: ["" : 17]> CumSum (a, b) => (o) { o = Identity(a) }',
    ),
    "a function that has an operator's name, by the domain's other one": case(
        "y = ai.onnx.CumSum(x, z)",
        "int64 z = {0}",
        functions=_OTHER + "CumSum (a, b) => (o) { o = Identity(a) }",
    ),
    "a function of another operator set": case(
        "y = local.f(x)",
        opset=12,
        functions='<domain: "local", opset_import: ["" : 13]> f (x) => (y) { ' + _TURNED + " }",
    ),
    "two versions of one operator set": case(
        _TURNED,
        opset=13,
        more=ModelProto(opset_import=[make_opsetid("ai.onnx", 12)]).SerializeToString(),
    ),
    "a constant in two parts": case("", more=_taken_twice()),
    "two nodes that make one value": case(
        "e = Constant<value_ints=[1]>() r = ReduceSum(x, e) y = Sub(x, r)",
        more=_later(make_node("Constant", [], ["e"], value_ints=[0])),
    ),
    "an end that is 1 once cut to 32 bits": case(
        "z = Constant<value_ints=[0]>() b = Cast<to=6>(z) r = Slice(x, b, e, b) y = Sub(x, r)",
        more=_listed("e", TensorProto.INT32, (1 << 32) + 1),
    ),
    "zeros that are listed as 256": case(
        COUNTS,
        more=_zeros_by_256(),
    ),
    "axes that are too many to read": case(
        "t = Transpose(x) u = MeanVarianceNormalization<axes=["
        + ",".join(["1"] * 5000)
        + "]>(t) y = Transpose(u)"
    ),
    "a size that wraps in a cast": case(
        COUNTS + "a = Mul(ns, k) b = Cast<to=6>(a) c = Cast<to=7>(b) d = Div(c, k)" + _DIFFERENCE,
        "int64[1] k = {1073741824}",
    ),
    "a size that wraps in 32 bits": case(
        COUNTS + "h = Cast<to=6>(ns) a = Mul(h, k) b = Div(a, k) d = Cast<to=7>(b)" + _DIFFERENCE,
        "int32[1] k = {1073741824}",
    ),
    "a power that wraps in 64 bits": case(
        COUNTS + "a = Mul(ns, ns) b = Mul(a, a) c = Mul(b, b) e = Mul(c, c) f = Mul(e, e)"
        " g = Mul(f, f) k = Mul(g, ns) l = Div(k, g) d = Mul(l, o)" + _DIFFERENCE,
        "int64[1] o = {1}",
    ),
    "a quotient that Reshape reads as 0": case(
        _SIZES + "k = Concat<axis=0>(ns, q, m) v = Reshape(x, k) g = Shape(v) e = Gather(g, j)"
        " f = Sub(e, q) p = Mul(f, ns) w = Cast<to=1>(p) y = Add(x, w)",
        _OF_SIZES,
        inputs="float[n,s] x",
    ),
    "no rows that Reshape reads as 0": case(
        _SIZES + "a = Mul(ns, q) k = Concat<axis=0>(a, m) v = Reshape(x, k) g = Shape(v)"
        " e = Gather(g, z1) f = Sub(e, a) w = Cast<to=1>(f) y = Add(x, w)",
        _OF_SIZES,
        inputs="float[n,s] x",
    ),
    "an attribute that refers to nothing": case(
        "y = local.outer(x)",
        functions=_INNER + "outer <bx> (x) => (y)"
        " { t = Transpose(x) u = local.inner<ax: int = @bx>(t) y = Transpose(u) }"
        + _INNER
        + "inner <ax: int = 1> (a) => (o) { o = Softmax<axis: int = @ax>(a) }",
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in WRONG.items()])
def test_what_was_wrongly_proven_is_not_any_more(case: Case) -> None:
    assert what_moved(case) != ""
    assert verdict_of(case).kind != "proven"
