"""Rows coupled by constants that name a place, by counts of data, by what a call hands on."""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, helper

from .build import I64, LOCAL, F, Graph, Zoo, f32, feeds, i64, rng
from .coupled_axis0 import ALONG
from .coupled_count import COUNT, count, places
from .coupled_data import COME_AND_GO, CONDITION, POINTING
from .coupled_mixed import MIXED
from .coupled_scales import SCALES

zoo = Zoo()
TRUE = np.array(True)
STEPS = [feeds(f32(rng(s).normal(size=(1, 5, 4)))) for s in (1, 2)]


# Constants that name the first row


@zoo.add(COUNT)
def written_into_the_first_row_by_scatter_elements(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("ScatterElements", x, i64([[0, 2]]), f32([[9, 9]]), axis=1), "n", 4)


@zoo.add(COUNT)
def written_into_the_first_row_by_scatter_nd(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("ScatterND", x, i64([[0]]), f32([[9, 9, 9, 9]])), "n", 4)


@zoo.add(COUNT)
def element_written_by_a_slice_assignment(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("ScatterND", x, i64([[0, 1]]), f32([9])), "n", 4)


@zoo.add(POINTING)
def elements_of_the_first_row(g: Graph) -> None:
    x = g.input("x", "n", 4)
    first = g.op("GatherElements", x, i64([[3, 0, 1, 2]]), axis=1)
    g.output(g.op("Add", x, first), "n", 4)


@zoo.add(POINTING)
def first_row_by_gather_nd(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Add", x, g.op("GatherND", x, i64([[0]]))), "n", 4)


@zoo.add(ALONG)
def first_row_split_off(g: Graph) -> None:
    x = g.input("x", "n", 4)
    sizes = g.op("Concat", [1], g.op("Sub", g.rows(x), [1]), axis=0)
    first, _ = g.ops("Split", x, sizes, outputs=2, axis=0)
    g.output(g.op("Add", x, first), "n", 4)


# Places that are computed


@zoo.add(POINTING)
def rows_gathered_from_the_last_place_on(g: Graph) -> None:
    x = g.input("x", "n", 4)
    last = g.op("Sub", count(g, x, I64), np.int64(1))
    g.output(g.op("Gather", x, g.op("Sub", last, places(g, x)), axis=0), "n", 4)


@zoo.add(POINTING)
def rows_rolled_by_one_place(g: Graph) -> None:
    x = g.input("x", "n", 4)
    place = g.op("Mod", g.op("Add", places(g, x), np.int64(1)), count(g, x, I64))
    g.output(g.op("GatherND", x, g.op("Unsqueeze", place, [1])), "n", 4)


@zoo.add(POINTING)
def places_that_count_down(g: Graph) -> None:
    x = g.input("x", "n", 4)
    last = g.op("Sub", count(g, x, I64), np.int64(1))
    place = g.op("Range", last, np.int64(-1), np.int64(-1))
    g.output(g.op("Gather", x, place, axis=0), "n", 4)


@zoo.add(COUNT)
def column_chosen_by_the_place(g: Graph) -> None:
    x = g.input("x", "n", 4)
    pairs = g.op("Concat", *[g.op("Unsqueeze", places(g, x), [1])] * 2, axis=1)
    g.output(g.op("GatherND", x, pairs), "n")


@zoo.add(COUNT)
def column_by_the_place_in_a_turned_value(g: Graph) -> None:
    x = g.input("x", "n", 4)
    turned = g.op("Transpose", x, perm=[1, 0])
    rows = g.op("GatherND", turned, g.op("Unsqueeze", places(g, x), [1]))
    g.output(g.op("ReduceMax", rows, axes=[1], keepdims=0), "n")


@zoo.add(POINTING)
def row_chosen_by_the_best_column(g: Graph) -> None:
    x = g.input("x", "n", 4)
    best = g.op("ArgMin", x, axis=1, keepdims=0)
    some = g.op("Mod", best, count(g, x, I64))
    g.output(g.op("Gather", x, some, axis=0), "n", 4)


# Numbers of data


@zoo.add(COME_AND_GO, a=feeds([[0, 1, 0, 1]]), b=feeds([[0, 0, 0, 1]]))
def divided_by_how_many_are_not_zero(g: Graph) -> None:
    x = g.input("x", "n", 4)
    found = g.op("Gather", g.op("Shape", g.op("NonZero", x)), [1])
    g.output(g.op("Div", x, g.op("Cast", found, to=F)), "n", 4)


@zoo.add(COME_AND_GO, a=feeds([[0, 1, 0, 1]]), b=feeds([[0, 2, 0, 1]]))
def plus_how_many_differ(g: Graph) -> None:
    x = g.input("x", "n", 4)
    size = g.op("Cast", g.op("Size", g.op("Unique", x)), to=F)
    g.output(g.op("Add", x, size), "n", 4)


@zoo.add(COME_AND_GO, a=feeds([[0, 1, 0, 1]]), b=feeds([[0, 2, 0, 1]]))
def noughts_counted_in_a_loop(g: Graph) -> None:
    x = g.input("x", "n", 4)
    trips = g.op("Gather", g.op("Shape", g.op("NonZero", x)), np.int64(1))
    body = g.body()
    _, go, value = body.taken(kind=I64), body.taken(kind=9), body.taken("n", 4)
    body.output(body.op("Identity", go), kind=9)
    body.output(body.op("Add", value, 1.0), "n", 4)
    g.output(g.op("Loop", trips, TRUE, x, body=body.proto()), "n", 4)


# Dimensions that fit one row by chance


@zoo.add(COUNT)
def half_the_count_as_a_dimension(g: Graph) -> None:
    x = g.input("x", "n", 4)
    half = g.op("Div", g.op("Add", g.rows(x), [1]), [2])
    z = g.op("Reshape", x, g.op("Concat", half, [-1], axis=0))
    z = g.op("Softmax", g.op("Mul", z, 0.01), axis=1)
    g.output(g.op("Reshape", z, g.op("Shape", x)), "n", 4)


@zoo.add(COUNT)
def other_shape_where_a_dimension_is_one(g: Graph) -> None:
    x = g.input("x", "n", 4)
    size = g.op("Shape", x)
    into = g.op("Where", g.op("Equal", size, [1]), i64([-1, -1]), i64([2, 2]))
    front = g.op("Cast", g.op("Slice", into, [0], [1]), to=F)
    g.output(g.op("Mul", x, front), "n", 4)


@zoo.add(MIXED)
def table_added_to_a_fused_axis(g: Graph) -> None:
    z = g.op("Reshape", g.input("x", "n", 4), [-1, 2])
    z = g.op("Add", z, f32([[1, 2], [3, 4]]))
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


@zoo.add(MIXED)
def first_block_of_a_fused_axis(g: Graph) -> None:
    z = g.op("Reshape", g.input("x", "n", 4), [-1, 2])
    z = g.op("Sub", z, g.op("Gather", z, [0], axis=0))
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


@zoo.add(MIXED)
def tiled_rows_in_pairs(g: Graph) -> None:
    z = g.op("Reshape", g.op("Tile", g.input("x", "n", 4), [2, 1]), [-1, 8])
    g.output(z, "n", 8)


@zoo.add(MIXED)
def repeated_rows_read_as_copies_of_the_batch(g: Graph) -> None:
    x = g.input("x", "n", 4)
    z = g.op("Expand", g.op("Unsqueeze", x, [1]), [1, 2, 1])
    z = g.op("Reshape", z, [2, -1, 4])
    g.output(g.op("ReduceSum", z, [0], keepdims=0), "n", 4)


# What a call hands on


def axis_of_the_call(g: Graph, kind: str, default: int | None) -> None:
    """A function that runs ``kind`` along the axis of its call, or along its default."""
    node = helper.make_node(kind, ["taken"], ["given"])
    node.attribute.append(
        AttributeProto(name="axis", ref_attr_name="along", type=AttributeProto.INT)
    )
    named = {"attributes": ["along"]} if default is None else {}
    if default is not None:
        named = {"attribute_protos": [helper.make_attribute("along", default)]}
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_function(LOCAL, "Along", ["taken"], ["given"], [node], opsets, **named)
    g.functions.append(made)


@zoo.add(SCALES)
def softmax_along_the_axis_of_a_call(g: Graph) -> None:
    axis_of_the_call(g, "Softmax", None)
    x = g.op("Mul", g.input("x", "n", 4), 0.01)
    g.output(g.op("Along", x, domain=LOCAL, along=0), "n", 4)


@zoo.add(SCALES)
def softmax_along_the_default_axis_of_a_function(g: Graph) -> None:
    axis_of_the_call(g, "LogSoftmax", 0)
    g.output(g.op("Along", g.input("x", "n", 4), domain=LOCAL), "n", 4)


@zoo.add(SCALES)
def function_called_with_an_inner_axis_and_with_the_batchs(g: Graph) -> None:
    axis_of_the_call(g, "Softmax", 1)
    x = g.op("Along", g.input("x", "n", 4), domain=LOCAL)
    g.output(g.op("Along", x, domain=LOCAL, along=0), "n", 4)


@zoo.add(SCALES)
def names_of_a_function_that_hide_those_outside(g: Graph) -> None:
    """Inside, x is the mean of all rows; outside it is the input."""
    nodes = [
        helper.make_node("ReduceMean", ["y"], ["x"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["y", "x"], ["z"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    g.functions.append(helper.make_function(LOCAL, "Centred", ["y"], ["z"], nodes, opsets))
    g.output(g.op("Centred", g.input("x", "n", 4), domain=LOCAL), "n", 4)


@zoo.add(CONDITION, *STEPS)
def branch_on_an_inner_dimension_that_mixes(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    steps = g.op("Gather", g.op("Shape", x), np.int64(1))
    then = g.branch(lambda b: b.op("Sub", x, b.op("ReduceMax", x, axes=[0])))
    other = g.branch(lambda b: b.op("Neg", x))
    long = g.op("Greater", steps, np.int64(3))
    g.output(g.op("If", long, then_branch=then, else_branch=other), "n", "s", 4)


LABELS = [feeds(f32(rng(s).normal(size=(1, 4))), i64([s]), names="x label") for s in (1, 3)]


@zoo.add(SCALES, *LABELS)
def minus_the_mean_loss_of_the_batch(g: Graph) -> None:
    x, label = g.input("x", "n", 4), g.input("label", "n", kind=I64)
    loss = g.op("SoftmaxCrossEntropyLoss", x, label, reduction="mean")
    g.output(g.op("Sub", x, loss), "n", 4)
