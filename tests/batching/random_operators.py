"""The operators that random graphs are made of, each with the sizes that it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from .build import D
from .random_growth import Grower, Operator, Shape, Traced, UnfitError


def unary(r: Grower, v: Traced) -> Traced:
    kinds = ("Relu", "Tanh", "Neg", "Sigmoid", "Abs", "Identity", "Exp")
    return r.made(r.g.op(r.draw(st.sampled_from(kinds)), v.name), lambda s: s, v)


def broadcast(a: Shape, b: Shape) -> Shape:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError as error:
        raise UnfitError from error


def binary(r: Grower, v: Traced) -> Traced:
    kind, other = r.draw(st.sampled_from(("Add", "Sub", "Mul", "Max"))), r.pick()
    one, many = broadcast(v.one, other.one), broadcast(v.many, other.many)
    return Traced(r.g.op(kind, v.name, other.name), one, many)


def with_constant(r: Grower, v: Traced) -> Traced:
    sizes = r.draw(st.sampled_from((v.one, v.many)))
    kept = [size if r.draw(st.booleans()) else 1 for size in sizes]
    shape = tuple(kept[r.draw(st.integers(0, v.rank)) :])
    one, many = broadcast(v.one, shape), broadcast(v.many, shape)
    return Traced(r.g.op("Add", v.name, r.const(*shape)), one, many)


def transpose(r: Grower, v: Traced) -> Traced:
    perm = r.draw(st.permutations(range(v.rank)))
    return r.made(r.g.op("Transpose", v.name, perm=perm), lambda s: tuple(s[a] for a in perm), v)


def reduce(r: Grower, v: Traced) -> Traced:
    kind = r.draw(st.sampled_from(("ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp")))
    axis, keep = r.axis(v), r.draw(st.booleans())
    name = r.g.op(kind, v.name, axes=[axis], keepdims=int(keep))
    return r.made(name, lambda s: (*s[:axis], *[1][: int(keep)], *s[axis + 1 :]), v)


def along(r: Grower, v: Traced) -> Traced:
    kind = r.draw(st.sampled_from(("Softmax", "LogSoftmax", "LpNormalization")))
    axis = r.axis(v) - r.draw(st.sampled_from((0, v.rank)))
    return r.made(r.g.op(kind, v.name, axis=axis), lambda s: s, v)


def cumulative(r: Grower, v: Traced) -> Traced:
    return r.made(r.g.op("CumSum", v.name, np.int64(r.axis(v))), lambda s: s, v)


def normalised(r: Grower, v: Traced) -> Traced:
    axis = r.axis(v)
    inner = v.many[axis:]
    if v.one[axis:] != inner:
        raise UnfitError
    name = r.g.op("LayerNormalization", v.name, np.ones(inner), axis=axis)
    return r.made(name, lambda s: s, v)


def reshaped(shape: Shape, target: Sequence[int]) -> Shape:
    sizes = [shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(target)]
    known = math.prod(size for size in sizes if size != -1)
    total = math.prod(shape)
    if not known or total % known or (-1 not in sizes and total != known):
        raise UnfitError
    return tuple(total // known if size == -1 else size for size in sizes)


def reshape(r: Grower, v: Traced) -> Traced:
    k = r.draw(st.integers(1, 6))
    templates = [[-1, k], [k, -1], [0, -1], [-1, k, 2], [0, 0, -1], [-1], [1, -1, k], [-1, 2, k]]
    target = r.draw(st.sampled_from(templates))
    if any(size == 0 and i >= v.rank for i, size in enumerate(target)):
        raise UnfitError
    one, many = reshaped(v.one, target), reshaped(v.many, target)
    return Traced(r.g.op("Reshape", v.name, target), one, many)


def reshape_by_rows(r: Grower, v: Traced) -> Traced:
    """To [a dimension of some value, k, -1] or with the -1 in front."""
    source = r.pick()
    axis = r.draw(st.integers(0, source.rank - 1))
    size = r.g.op("Gather", r.g.op("Shape", source.name), [axis])
    k = r.draw(st.integers(1, 3))
    front = r.draw(st.booleans())
    parts = (size, [k, -1]) if front else ([-1], size, [k])

    def target(shape: Shape) -> list[int]:
        return [shape[axis], k, -1] if front else [-1, shape[axis], k]

    one, many = reshaped(v.one, target(source.one)), reshaped(v.many, target(source.many))
    return Traced(r.g.op("Reshape", v.name, r.g.op("Concat", *parts, axis=0)), one, many)


def reshape_back(r: Grower, v: Traced) -> Traced:
    like = r.pick()
    if math.prod(v.one) != math.prod(like.one) or math.prod(v.many) != math.prod(like.many):
        raise UnfitError
    return Traced(r.g.op("Reshape", v.name, r.g.op("Shape", like.name)), like.one, like.many)


def flatten(r: Grower, v: Traced) -> Traced:
    axis = r.draw(st.integers(0, v.rank))
    name = r.g.op("Flatten", v.name, axis=axis)
    return r.made(name, lambda s: (math.prod(s[:axis]), math.prod(s[axis:])), v)


def unsqueeze(r: Grower, v: Traced) -> Traced:
    axis = r.draw(st.integers(0, v.rank))
    return r.made(r.g.op("Unsqueeze", v.name, [axis]), lambda s: (*s[:axis], 1, *s[axis:]), v)


def squeeze(r: Grower, v: Traced) -> Traced:
    ones = [axis for axis in v.inner() if v.one[axis] == 1]
    if not ones:
        raise UnfitError
    axis = r.draw(st.sampled_from(ones))
    return r.made(r.g.op("Squeeze", v.name, [axis]), lambda s: (*s[:axis], *s[axis + 1 :]), v)


def concat(r: Grower, v: Traced) -> Traced:
    other, axis = r.pick(), r.axis(v)

    def joined(a: Shape, b: Shape) -> Shape:
        if (a[:axis], a[axis + 1 :]) != (b[:axis], b[axis + 1 :]) or axis >= len(b):
            raise UnfitError
        return (*a[:axis], a[axis] + b[axis], *a[axis + 1 :])

    one, many = joined(v.one, other.one), joined(v.many, other.many)
    return Traced(r.g.op("Concat", v.name, other.name, axis=axis), one, many)


ENDS = ((2**31 - 1, 1), (2**31 - 1, 2), (-1, 1), (2, 1), (-99, -1))


def cut(r: Grower, v: Traced) -> Traced:
    axis, start = r.axis(v), r.draw(st.sampled_from((0, 0, 1, -1)))
    end, step = r.draw(st.sampled_from(ENDS))
    piece = slice(start, None if end in (-99, 2**31 - 1) else end, step)
    name = r.g.op("Slice", v.name, [start], [end], [axis], [step])

    def left(shape: Shape) -> Shape:
        size = len(range(shape[axis])[piece])
        if not size:
            raise UnfitError
        return (*shape[:axis], size, *shape[axis + 1 :])

    return r.made(name, left, v)


def gather(r: Grower, v: Traced) -> Traced:
    axis = r.axis(v)
    top = min(v.one[axis], v.many[axis])
    picked = r.draw(st.lists(st.integers(-top, top - 1), min_size=1, max_size=3))
    name = r.g.op("Gather", v.name, picked, axis=axis)
    return r.made(name, lambda s: (*s[:axis], len(picked), *s[axis + 1 :]), v)


def matmul_constant(r: Grower, v: Traced) -> Traced:
    if v.rank < 2 or v.one[-1] != v.many[-1]:
        raise UnfitError
    name = r.g.op("MatMul", v.name, r.const(v.one[-1], 3))
    return r.made(name, lambda s: (*s[:-1], 3), v)


def matmul_by_its_transpose(r: Grower, v: Traced) -> Traced:
    if v.rank < 2:
        raise UnfitError
    perm = [*range(v.rank - 2), v.rank - 1, v.rank - 2]
    name = r.g.op("MatMul", v.name, r.g.op("Transpose", v.name, perm=perm))
    return r.made(name, lambda s: (*s[:-1], s[-2]), v)


EQUATIONS = ("ij->ji", "ij->i", "ij->j", "ij,ij->i", "ij,kj->ik", "ij,ij->ij")


def einsum(r: Grower, v: Traced) -> Traced:
    if v.rank != 2:
        raise UnfitError
    equation = r.draw(st.sampled_from(EQUATIONS))
    left, right = equation.split("->")
    names = [v.name] * len(left.split(","))

    def result(shape: Shape) -> Shape:
        sizes = dict(zip("ij", shape, strict=True)) | {"k": shape[0]}
        return tuple(sizes[letter] for letter in right)

    return r.made(r.g.op("Einsum", *names, equation=equation), result, v)


def tile(r: Grower, v: Traced) -> Traced:
    axis = r.axis(v)
    repeats = [2 if one == axis else 1 for one in range(v.rank)]
    name = r.g.op("Tile", v.name, repeats)
    return r.made(name, lambda s: (*s[:axis], 2 * s[axis], *s[axis + 1 :]), v)


def pad(r: Grower, v: Traced) -> Traced:
    axis = r.axis(v)
    pads = [1 if one == axis else 0 for one in range(v.rank)] + [0] * v.rank
    name = r.g.op("Pad", v.name, pads)
    return r.made(name, lambda s: (*s[:axis], 1 + s[axis], *s[axis + 1 :]), v)


def expanded_constant(r: Grower, v: Traced) -> Traced:
    """A learnt row for each of a value's rows, as class tokens are made."""
    axis = r.draw(st.integers(0, v.rank - 1))
    size = r.g.op("Gather", r.g.op("Shape", v.name), [axis])
    front = r.draw(st.booleans())
    parts = (size, [2]) if front else ([2], size)
    table = r.const(1, 2) if front else r.const(2, 1)
    name = r.g.op("Expand", table, r.g.op("Concat", *parts, axis=0))
    return r.made(name, lambda s: (s[axis], 2) if front else (2, s[axis]), v)


def expanded_by(r: Grower, v: Traced) -> Traced:
    other = r.pick()
    one, many = broadcast(v.one, other.one), broadcast(v.many, other.many)
    return Traced(r.g.op("Expand", v.name, r.g.op("Shape", other.name)), one, many)


def size_as_data(r: Grower, v: Traced) -> Traced:
    axis = r.draw(st.integers(0, v.rank - 1))
    size = r.g.op("Gather", r.g.op("Shape", v.name), [axis])
    return r.made(r.g.op("Add", v.name, r.g.op("Cast", size, to=D)), lambda s: s, v)


def best(r: Grower, v: Traced) -> Traced:
    axis = r.axis(v)
    name = r.g.ops("TopK", v.name, [1], outputs=2, axis=axis)[0]
    return r.made(name, lambda s: (*s[:axis], 1, *s[axis + 1 :]), v)


def scanned(r: Grower, v: Traced) -> Traced:
    """A Scan that adds up along an axis."""
    axis = r.axis(v)
    rest = [one for one in range(v.rank) if one != axis]
    if v.rank < 2 or any(v.one[one] != v.many[one] for one in rest):
        raise UnfitError
    body = r.g.body()
    dims = [v.one[one] for one in rest]
    state, item = body.taken(*dims, kind=D), body.taken(*dims, kind=D)
    total = body.op("Add", state, item)
    body.output(total, *dims, kind=D)
    body.output(body.op("Identity", total), *dims, kind=D)
    more = {"scan_input_axes": [axis], "scan_output_axes": [axis], "num_scan_inputs": 1}
    name = r.g.ops("Scan", np.zeros(dims), v.name, outputs=2, body=body.proto(), **more)[1]
    return r.made(name, lambda s: s, v)


OPERATORS: list[Operator] = [
    *(unary, binary, with_constant, transpose, reduce, along, cumulative, normalised),
    *(reshape, reshape, reshape_by_rows, reshape_back, reshape_back, flatten, unsqueeze, squeeze),
    *(concat, cut, gather, matmul_constant, matmul_by_its_transpose, einsum, tile, pad),
    *(expanded_constant, expanded_by, size_as_data, best, scanned),
]
