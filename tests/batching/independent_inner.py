"""Independent rows: slices that take them all, inner axes, subgraphs and functions."""

from __future__ import annotations

import numpy as np
from onnx import helper

from .build import BOOL, I64, LOCAL, F, Graph, Zoo, f32, feeds, i64, weights
from .independent_layers import A_TWO, B_ONE, STEPS
from .independent_shapes import dim

zoo = Zoo()
INNER = "inner axes"
BODIES = "subgraphs and functions"
END = 2**31 - 1
FOREVER = 2**63 - 1
TRUE = np.array(True)


# Slices and the like that take all rows, or inner axes only


@zoo.add(INNER, A_TWO, B_ONE)
def slices_that_take_all_rows(g: Graph) -> None:
    x = g.op("Slice", g.input("x", "n", 4), [0], [END], [0])
    g.output(g.op("Slice", x, [0, 1], [FOREVER, 3], [0, 1], [1, 1]), "n", 2)


@zoo.add(INNER, A_TWO, B_ONE)
def slice_to_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Slice", x, [0], g.rows(x), [0]), "n", 4)


@zoo.add(INNER, A_TWO, B_ONE, opset=9)
def slice_by_attributes_with_all_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Slice", x, starts=[0, -2], ends=[END, END], axes=[0, 1]), "n", 2)


@zoo.add(INNER, A_TWO, B_ONE)
def columns_backwards(g: Graph) -> None:
    g.output(g.op("Slice", g.input("x", "n", 4), [-1], [-9], [1], [-1]), "n", 4)


@zoo.add(INNER, A_TWO, B_ONE, opset=18)
def columns_split_and_swapped(g: Graph) -> None:
    first, second = g.ops("Split", g.input("x", "n", 4), [1, 3], outputs=2, axis=1)
    g.output(g.op("Concat", second, first, axis=-1), "n", 4)


@zoo.add(INNER, A_TWO, B_ONE)
def columns_padded_and_repeated(g: Graph) -> None:
    z = g.op("Pad", g.input("x", "n", 4), [0, 1, 0, 2], f32(7.0))
    g.output(g.op("Tile", z, [1, 2]), "n", 14)


@zoo.add(INNER, A_TWO, B_ONE)
def columns_gathered_by_constants(g: Graph) -> None:
    x = g.input("x", "n", 4)
    z = g.op("Gather", x, i64([2, 0]), axis=1)
    first = g.op("Unsqueeze", g.op("Gather", x, np.int64(-1), axis=1), [1])
    g.output(g.op("Sub", z, first), "n", 2)


@zoo.add(INNER, A_TWO, B_ONE)
def columns_compressed_by_a_constant(g: Graph) -> None:
    kept = np.array([True, False, True])
    g.output(g.op("Compress", g.input("x", "n", 4), kept, axis=1), "n", 2)


PICKED = [
    feeds(A_TWO["x"], i64([[0, 2], [3, 3]]), names="x i"),
    feeds(B_ONE["x"], i64([[1, 0]]), names="x i"),
]


@zoo.add(INNER, *PICKED)
def columns_picked_by_each_row(g: Graph) -> None:
    x, i = g.input("x", "n", 4), g.input("i", "n", 2, kind=I64)
    g.output(g.op("GatherElements", x, i, axis=1), "n", 2)


@zoo.add(INNER, *PICKED)
def columns_written_by_each_row(g: Graph) -> None:
    x, i = g.input("x", "n", 4), g.input("i", "n", 2, kind=I64)
    more = g.op("GatherElements", x, i, axis=-1)
    g.output(g.op("ScatterElements", x, i, more, axis=1, reduction="add"), "n", 4)


@zoo.add(INNER, A_TWO, B_ONE)
def sorted_columns(g: Graph) -> None:
    values, order = g.ops("TopK", g.input("x", "n", 4), [4], outputs=2, axis=1, largest=0)
    g.output(g.op("Add", values, g.op("GatherElements", values, order, axis=1)), "n", 4)


@zoo.add(INNER, *STEPS)
def squeezed_and_unsqueezed_inside(g: Graph) -> None:
    x = g.op("Unsqueeze", g.input("x", "n", 5, 4), [1, -1])
    g.output(g.op("Squeeze", x, [1, 4]), "n", 5, 4)


@zoo.add(INNER, A_TWO, B_ONE)
def unsqueezed_in_front_and_back(g: Graph) -> None:
    x = g.op("Mul", g.op("Unsqueeze", g.input("x", "n", 4), [0]), f32([[[2]]]))
    g.output(g.op("Squeeze", x, [0]), "n", 4)


@zoo.add(
    INNER, *(feeds(one["x"], one["x"].transpose(0, 2, 1).copy(), names="x y") for one in STEPS)
)
def batches_of_matrices_by_einsum(g: Graph) -> None:
    x, y = g.input("x", "n", 5, 4), g.input("y", "n", 4, 5)
    g.output(g.op("Einsum", x, y, equation="bij,bjk->bik"), "n", 5, 5)


@zoo.add(INNER, *STEPS)
def axes_turned_by_einsum(g: Graph) -> None:
    x = g.input("x", "n", 5, 4)
    z = g.op("Einsum", x, weights(4, 3), equation="...j,jk->...k")
    g.output(g.op("Einsum", z, equation="nsk->nks"), "n", 3, 5)


@zoo.add(INNER, A_TWO, B_ONE)
def softmax_while_turned(g: Graph) -> None:
    x = g.op("Transpose", g.input("x", "n", 4))
    g.output(g.op("Transpose", g.op("Softmax", x, axis=0)), "n", 4)


@zoo.add(INNER, *STEPS)
def flattened_from_axis_1_of_three(g: Graph) -> None:
    z = g.op("Flatten", g.input("x", "n", 5, 4), axis=-2)
    g.output(z, "n", 20)


@zoo.add(INNER, A_TWO, B_ONE)
def steps_first_and_back(g: Graph) -> None:
    x = g.op("Transpose", g.op("Unsqueeze", g.input("x", "n", 4), [1]), perm=[1, 0, 2])
    g.output(g.op("Gather", x, np.int64(0), axis=0), "n", 4)


@zoo.add(INNER, A_TWO, B_ONE)
def nothing_reduced(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("ReduceSum", x, i64([]), noop_with_empty_axes=1), "n", 4)


@zoo.add(INNER, A_TWO, B_ONE)
def rows_reduced_by_a_computed_axis(g: Graph) -> None:
    x = g.input("x", "n", 4)
    axis = g.op("Sub", g.op("Shape", g.op("Shape", x)), [1])
    g.output(g.op("ReduceSum", x, axis, keepdims=0), "n")


NAMED_APART = [feeds([[1, 2]], [[k]], names="x s") for k in (10, 30)]


@zoo.add(INNER, *NAMED_APART)
def inputs_whose_first_axes_have_other_names(g: Graph) -> None:
    """Requests whose first dimensions differ are answered too, and run alone."""
    x, s = g.input("x", "n", 2), g.input("s", "m", 1)
    g.output(g.op("Add", x, s), None, 2)


# Subgraphs and functions


@zoo.add(BODIES, A_TWO, B_ONE)
def loop_of_constant_trips(g: Graph) -> None:
    x = g.input("x", "n", 4)
    body = g.body()
    i, go, value = body.taken(kind=I64), body.taken(kind=BOOL), body.taken("n", 4)
    step = body.op("Cast", i, to=F)
    body.output(body.op("Identity", go), kind=BOOL)
    body.output(body.op("Add", body.op("Tanh", value), step), "n", 4)
    g.output(g.op("Loop", np.int64(3), TRUE, x, body=body.proto()), "n", 4)


@zoo.add(BODIES, *STEPS)
def scan_over_steps(g: Graph) -> None:
    x = g.input("x", "n", 5, 4)
    body = g.body()
    state, row = body.taken("n", 4), body.taken("n", 4)
    total = body.op("Add", body.op("Mul", state, 0.5), row)
    body.output(total, "n", 4)
    body.output(body.op("Relu", total), "n", 4)
    start = g.op("ConstantOfShape", g.op("Concat", g.rows(x), [4], axis=0))
    axes = {"scan_input_axes": [1], "scan_output_axes": [1]}
    made = g.ops("Scan", start, x, outputs=2, body=body.proto(), num_scan_inputs=1, **axes)
    g.output(made[0], "n", 4)
    g.output(made[1], "n", 5, 4)


@zoo.add(BODIES, A_TWO, B_ONE)
def branch_on_a_constant(g: Graph) -> None:
    x = g.input("x", "n", 4)
    then = g.branch(lambda b: b.op("Relu", x))
    other = g.branch(lambda b: b.op("Neg", x))
    g.output(g.op("If", TRUE, then_branch=then, else_branch=other), "n", 4)


@zoo.add(BODIES, *STEPS)
def branch_on_an_inner_dimension(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    long = g.op("Greater", dim(g, x, 1), np.int64(3))
    then = g.branch(lambda b: b.op("ReduceMean", x, axes=[1], keepdims=0))
    other = g.branch(lambda b: b.op("ReduceMax", x, axes=[1], keepdims=0))
    g.output(g.op("If", long, then_branch=then, else_branch=other), "n", 4)


@zoo.add(BODIES, A_TWO, B_ONE)
def nested_local_functions(g: Graph) -> None:
    g.function("Gate", 1, lambda f, x: f.op("Mul", x, f.op("Sigmoid", x)))
    g.function("Dense", 2, lambda f, x, w: f.call("Gate", f.op("MatMul", x, w)))
    z = g.call("Dense", g.input("x", "n", 4), weights(4, 6))
    g.output(g.call("Dense", z, weights(6, 3)), "n", 3)


@zoo.add(BODIES, A_TWO, B_ONE)
def scan_over_rows_that_remembers_nothing(g: Graph) -> None:
    body = g.body()
    row = body.taken(4)
    body.output(body.op("Softmax", row, axis=0), 4)
    x = g.input("x", "n", 4)
    g.output(g.op("Scan", x, body=body.proto(), num_scan_inputs=1), "n", 4)


@zoo.add(BODIES, A_TWO, B_ONE)
def names_of_a_function_that_are_those_outside(g: Graph) -> None:
    """Inside, x is a sum within each row; outside it is the input."""
    nodes = [
        helper.make_node("ReduceL1", ["y"], ["x"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["y", "x"], ["z"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    g.functions.append(helper.make_function(LOCAL, "Minus", ["y"], ["z"], nodes, opsets))
    g.output(g.op("Minus", g.input("x", "n", 4), domain=LOCAL), "n", 4)


@zoo.add(INNER, A_TWO, B_ONE)
def shapes_in_constant_nodes(g: Graph) -> None:
    x = g.op("Reshape", g.input("x", "n", 4), g.op("Constant", value_ints=[-1, 2, 2]))
    z = g.op("Mul", x, g.op("Constant", value_floats=[0.5, 2.0]))
    z = g.op("Gather", z, g.op("Constant", value_int=1), axis=1)
    g.output(g.op("Add", z, g.op("Constant", value_float=1.0)), "n", 2)


@zoo.add(INNER, A_TWO, B_ONE)
def rows_repeated_side_by_side(g: Graph) -> None:
    """repeat_interleave: copies of a row stay next to each other."""
    x = g.op("Expand", g.op("Unsqueeze", g.input("x", "n", 4), [1]), [1, 3, 1])
    z = g.op("Mul", g.op("Reshape", x, [-1, 4]), 0.5)
    g.output(g.op("Reshape", z, [-1, 12]), "n", 12)


@zoo.add(INNER, A_TWO, B_ONE)
def scale_of_each_row_by_itself(g: Graph) -> None:
    """Quantised dynamically, but row by row, in plain arithmetic."""
    x = g.input("x", "n", 4)
    scale = g.op("Div", g.op("ReduceMax", g.op("Abs", x), axes=[1], keepdims=1), 127.0)
    q = g.op("Round", g.op("Div", x, g.op("Max", scale, 1e-9)))
    g.output(g.op("Mul", q, scale), "n", 4)
