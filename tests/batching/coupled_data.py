"""Rows coupled by conditions and indices made of data; random rows; rows that come and go."""

from __future__ import annotations

import numpy as np

from .build import BOOL, I32, I64, ML, STRING, F, Graph, Zoo, f32, feeds, i64, rng

zoo = Zoo()
CONDITION = "conditions on the batch"
POINTING = "rows pointing at rows"
RANDOM = "random operators"
COME_AND_GO = "rows by data"
TRUE = np.array(True)


def any_above(g: Graph, x: str, limit: float) -> str:
    return g.op("Greater", g.op("ReduceMax", x, keepdims=0), limit)


@zoo.add(CONDITION)
def another_branch_for_an_outlier(g: Graph) -> None:
    x = g.input("x", "n", 4)
    then, other = g.branch(lambda b: b.op("Neg", x)), g.branch(lambda b: b.op("Abs", x))
    g.output(g.op("If", any_above(g, x, 100.0), then_branch=then, else_branch=other), "n", 4)


@zoo.add(CONDITION)
def outlier_asked_about_in_a_nested_branch(g: Graph) -> None:
    x = g.input("x", "n", 4)
    same, negated = g.branch(lambda b: b.op("Abs", x)), g.branch(lambda b: b.op("Neg", x))
    inner = g.branch(
        lambda b: b.op("If", any_above(b, x, 100.0), then_branch=negated, else_branch=same)
    )
    g.output(g.op("If", TRUE, then_branch=inner, else_branch=same), "n", 4)


@zoo.add(CONDITION)
def outlier_asked_about_in_a_function(g: Graph) -> None:
    def guarded(f: Graph, x: str) -> str:
        return f.op("Where", any_above(f, x, 100.0), f.op("Sign", x), x)

    g.function("Guarded", 1, guarded)
    g.output(g.call("Guarded", g.input("x", "n", 4)), "n", 4)


@zoo.add(CONDITION)
def where_the_whole_batch_is_small(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Where", any_above(g, x, 100.0), f32([[0]]), x), "n", 4)


@zoo.add(CONDITION)
def where_any_row_is_not_a_number(g: Graph) -> None:
    x = g.input("x", "n", 4)
    bad = g.op("Cast", g.op("IsNaN", g.op("Sqrt", g.op("Add", x, 1.0))), to=F)
    some = g.op("Greater", g.op("ReduceMax", bad, keepdims=0), 0.0)
    g.output(g.op("Where", some, g.op("Mul", x, 0.0), x), "n", 4)


@zoo.add(CONDITION)
def halved_until_all_are_small(g: Graph) -> None:
    x = g.input("x", "n", 4)
    body = g.body()
    body.taken(kind=I64), body.taken(kind=BOOL)
    value = body.taken("n", 4)
    halved = body.op("Mul", value, 0.5)
    body.output(any_above(body, halved, 1.0), kind=BOOL)
    body.output(halved, "n", 4)
    g.output(g.op("Loop", "", TRUE, x, body=body.proto()), "n", 4)


@zoo.add(CONDITION)
def as_many_trips_as_the_largest(g: Graph) -> None:
    x = g.input("x", "n", 4)
    body = g.body()
    _, go, value = body.taken(kind=I64), body.taken(kind=BOOL), body.taken("n", 4)
    body.output(body.op("Identity", go), kind=BOOL)
    body.output(body.op("Add", value, 1.0), "n", 4)
    most = g.op("Ceil", g.op("ReduceMax", x, keepdims=0))
    trips = g.op("Cast", g.op("Min", most, 9.0), to=I64)
    g.output(g.op("Loop", trips, TRUE, x, body=body.proto()), "n", 4)


@zoo.add(CONDITION, b=feeds([[900, 1, 2, 3]]))
def column_chosen_by_all_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    sums = g.op("ReduceSum", x, [0], keepdims=0)
    best = g.op("ArgMax", sums, axis=0, keepdims=0)
    g.output(g.op("Gather", x, best, axis=1), "n")


@zoo.add(CONDITION, a=feeds([[1, 1, 1, 1]]), b=feeds([[-9, 9, 9, 9]]))
def first_row_decides(g: Graph) -> None:
    x = g.input("x", "n", 4)
    first = g.op("Slice", x, [0, 0], [1, 1], [0, 1])
    g.output(g.op("Where", g.op("Greater", first, 0.0), x, g.op("Neg", x)), "n", 4)


@zoo.add(CONDITION)
def top_columns_as_many_as_the_largest_row_says(g: Graph) -> None:
    x = g.input("x", "n", 4)
    some = g.op("Cast", any_above(g, x, 100.0), to=I64)
    k = g.op("Unsqueeze", g.op("Add", some, np.int64(1)), [0])
    values, _ = g.ops("TopK", x, k, outputs=2, axis=1)
    g.output(g.op("ReduceMean", values, axes=[1], keepdims=0), "n")


# Rows pointing at rows

POINTERS = [feeds([[1, 2]], i64([0]), names="x i"), feeds([[7, 9]], i64([0]), names="x i")]
PAIRED = [feeds([[1, 2]], i64([[0]]), names="x i"), feeds([[7, 9]], i64([[0]]), names="x i")]


@zoo.add(POINTING, *POINTERS)
def row_taken_by_number(g: Graph) -> None:
    x, i = g.input("x", "n", 2), g.input("i", "n", kind=I64)
    g.output(g.op("Gather", x, i, axis=0), "n", 2)


@zoo.add(POINTING, *PAIRED)
def row_taken_by_gather_nd(g: Graph) -> None:
    x, i = g.input("x", "n", 2), g.input("i", "n", 1, kind=I64)
    g.output(g.op("GatherND", x, i), "n", 2)


@zoo.add(POINTING, *(feeds(one["x"], np.repeat(one["i"], 2, 1), names="x i") for one in PAIRED))
def row_taken_by_gather_elements(g: Graph) -> None:
    x, i = g.input("x", "n", 2), g.input("i", "n", 2, kind=I64)
    g.output(g.op("GatherElements", x, i, axis=0), "n", 2)


@zoo.add(POINTING, *PAIRED)
def row_written_by_scatter_nd(g: Graph) -> None:
    x, i = g.input("x", "n", 2), g.input("i", "n", 1, kind=I64)
    g.output(g.op("ScatterND", x, i, g.op("Neg", x)), "n", 2)


@zoo.add(POINTING, *(feeds(one["x"], np.repeat(one["i"], 2, 1), names="x i") for one in PAIRED))
def row_written_by_scatter_elements(g: Graph) -> None:
    x, i = g.input("x", "n", 2), g.input("i", "n", 2, kind=I64)
    g.output(g.op("ScatterElements", x, i, g.op("Neg", x), axis=0), "n", 2)


@zoo.add(POINTING)
def sum_of_rows_by_a_computed_order(g: Graph) -> None:
    x = g.input("x", "n", 4)
    key = g.op("ReduceSum", x, [1], keepdims=0)
    _, order = g.ops("TopK", key, g.rows(x), outputs=2, axis=0)
    g.output(g.op("Gather", x, order, axis=0), "n", 4)


@zoo.add(POINTING, *POINTERS)
def neighbours_by_a_one_hot_matrix(g: Graph) -> None:
    x, i = g.input("x", "n", 2), g.input("i", "n", kind=I64)
    depth = g.op("Squeeze", g.rows(x), [0])
    adjacency = g.op("OneHot", i, depth, f32([0, 1]), axis=1)
    g.output(g.op("MatMul", adjacency, x), "n", 2)


@zoo.add(POINTING, *(feeds(i64([k]), names="x") for k in (2, 2)))
def written_into_a_shared_table(g: Graph) -> None:
    x = g.input("x", "n", kind=I64)
    ones = g.op("Expand", f32([1]), g.op("Shape", x))
    table = np.zeros(5, np.float32)
    counts = g.op("ScatterElements", table, x, ones, axis=0, reduction="add")
    g.output(g.op("Gather", counts, x, axis=0), "n")


@zoo.add(POINTING, *POINTERS)
def row_taken_in_a_branch(g: Graph) -> None:
    x, i = g.input("x", "n", 2), g.input("i", "n", kind=I64)
    then = g.branch(lambda b: b.op("Gather", x, i, axis=0))
    other = g.branch(lambda b: b.op("Identity", x))
    g.output(g.op("If", TRUE, then_branch=then, else_branch=other), "n", 2)


# Random operators


@zoo.add(RANDOM, random=True)
def normal_noise(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Add", x, g.op("RandomNormalLike", x, scale=0.0001)), "n", 4)


@zoo.add(RANDOM, random=True)
def seeded_uniform_noise(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Add", x, g.op("RandomUniformLike", x, seed=3.0, high=0.001)), "n", 4)


@zoo.add(RANDOM, random=True)
def coin_for_each_element(g: Graph) -> None:
    p = g.op("Clip", g.input("x", "n", 4), 0.001, 0.999)
    g.output(g.op("Bernoulli", p, seed=1.0), "n", 4)


@zoo.add(RANDOM, random=True)
def sampled_class(g: Graph) -> None:
    x = g.op("Clip", g.input("x", "n", 4), -1.0, 1.0)
    g.output(g.op("Multinomial", x, sample_size=2, seed=1.0), "n", 2, kind=I32)


@zoo.add(RANDOM, random=True)
def dropout_in_training(g: Graph) -> None:
    g.output(g.op("Dropout", g.input("x", "n", 4), 0.5, TRUE), "n", 4)


@zoo.add(RANDOM, random=True)
def the_same_noise_for_all_rows(g: Graph) -> None:
    noise = g.op("RandomNormal", shape=[1, 4])
    g.output(g.op("Add", g.input("x", "n", 4), noise), "n", 4)


@zoo.add(RANDOM, random=True)
def noise_in_a_function(g: Graph) -> None:
    g.function("Noisy", 1, lambda f, x: f.op("Add", x, f.op("RandomNormalLike", x)))
    g.output(g.call("Noisy", g.input("x", "n", 4)), "n", 4)


# Rows that come and go


@zoo.add(COME_AND_GO, a=feeds([[-1000, 1, 0, 0]]), b=feeds([[500, 6, 0, 0]]))
def filtered_and_doubled(g: Graph) -> None:
    x = g.input("x", "n", 4)
    key = g.op("Squeeze", g.op("Slice", x, [0], [1], [1]), [1])
    kept = g.op("Compress", x, g.op("Greater", key, -100.0), axis=0)
    twice = g.op("Compress", x, g.op("Greater", key, 100.0), axis=0)
    g.output(g.op("Concat", kept, twice, axis=0), "k", 4)


@zoo.add(COME_AND_GO, a=feeds([[-1, 1, 1, 1]]), b=feeds([[1, 1, 1, 1]]))
def positive_rows_only(g: Graph) -> None:
    x = g.input("x", "n", 4)
    key = g.op("ReduceMin", x, axes=[1], keepdims=0)
    g.output(g.op("Compress", x, g.op("Greater", key, 0.0), axis=0), "k", 4)


@zoo.add(COME_AND_GO, a=feeds([[0, 1, 0, 1]]), b=feeds([[0, 0, 0, 1]]))
def places_of_what_is_not_zero(g: Graph) -> None:
    z = g.op("Transpose", g.op("NonZero", g.input("x", "n", 4)), perm=[1, 0])
    g.output(z, "k", 2, kind=I64)


@zoo.add(COME_AND_GO, a=feeds([[0, 1, 0, 1]]), b=feeds([[0, 0, 0, 1]]))
def values_that_are_not_zero(g: Graph) -> None:
    x = g.input("x", "n", 4)
    z = g.op("GatherND", x, g.op("Transpose", g.op("NonZero", x), perm=[1, 0]))
    g.output(z, "k")


@zoo.add(COME_AND_GO, a=feeds([2.0]), b=feeds([2.0]))
def distinct_values(g: Graph) -> None:
    g.output(g.op("Unique", g.input("x", "n")), "k")


@zoo.add(COME_AND_GO, a=feeds([[1, 2, 3, 4]]), b=feeds([[0, 2, 3, 4]]))
def distinct_rows_in_order(g: Graph) -> None:
    g.output(g.op("Unique", g.input("x", "n", 4), axis=0), "k", 4)


@zoo.add(COME_AND_GO, a=feeds([5.0]), b=feeds([2.0]))
def place_among_distinct_values(g: Graph) -> None:
    made = g.ops("Unique", g.input("x", "n"), outputs=3)
    g.output(made[2], "n", kind=I64)


BOXES = [
    feeds(f32([[[0, 0, s, s]]]), f32([[[k]]]), names="boxes scores")
    for s, k in ((1, 0.9), (2, 0.1))
]


@zoo.add(COME_AND_GO, *BOXES)
def boxes_kept(g: Graph) -> None:
    boxes, scores = g.input("boxes", "n", "k", 4), g.input("scores", "n", 1, "k")
    limits = (i64([5]), f32([0.5]), f32([0.5]))
    g.output(g.op("NonMaxSuppression", boxes, scores, *limits), "m", 3, kind=I64)


def words(*some: str) -> np.ndarray:
    return np.array(some, object)


@zoo.add(COME_AND_GO, a=feeds(words("the")), b=feeds(words("house")))
def stop_words_dropped(g: Graph) -> None:
    z = g.op("StringNormalizer", g.input("x", "n", kind=STRING), stopwords=["the"], locale="C")
    g.output(z, "k", kind=STRING)


@zoo.add(COME_AND_GO, a=feeds(words("a b")), b=feeds(words("a b c d")))
def words_padded_to_the_longest(g: Graph) -> None:
    x = g.input("x", "n", kind=STRING)
    more = {"mark": 0, "mincharnum": 1, "pad_value": "#", "separators": [" "]}
    g.output(g.ms("Tokenizer", x, **more), "n", "k", kind=STRING)


@zoo.add(COME_AND_GO, a=feeds(words("a b")), b=feeds(words("a b c d")))
def paddings_counted(g: Graph) -> None:
    x = g.input("x", "n", kind=STRING)
    more = {"mark": 0, "mincharnum": 1, "pad_value": "#", "separators": [" "]}
    known = {"keys_strings": ["#"], "values_int64s": [1], "default_int64": 0}
    padded = g.ml("LabelEncoder", g.ms("Tokenizer", x, **more), **known)
    counted = g.op("ReduceSum", padded, [1], keepdims=0)
    g.output(counted, "n", kind=I64)


@zoo.add(COME_AND_GO, a=feeds(i64([2])), b=feeds(i64([3])))
def as_many_rows_as_asked_for(g: Graph) -> None:
    x = g.input("x", "n", kind=I64)
    total = g.op("ReduceSum", x, [0], keepdims=1)
    g.output(g.op("ConstantOfShape", total), "k")


@zoo.add(COME_AND_GO, *(feeds(words(*some)) for some in (("a", "b"), ("b", "b"))))
def words_counted_over_the_request(g: Graph) -> None:
    """Of rank 1 TfIdfVectorizer takes the whole tensor for one row."""
    x = g.input("x", "n", kind=STRING)
    more = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0}
    pool = {"ngram_counts": [0], "ngram_indexes": [0, 1], "pool_strings": ["a", "b"]}
    g.output(g.op("TfIdfVectorizer", x, **more, **pool), 2)


@zoo.add(COME_AND_GO, *(feeds(f32(rng(s).normal(size=2))) for s in (1, 2)))
def vector_normalised_as_one_row(g: Graph) -> None:
    g.output(g.op("Normalizer", g.input("x", "n"), domain=ML, norm="L2"), None, None)


@zoo.add(COME_AND_GO, a=feeds([[1, 2, 3, 4]]), b=feeds([[1, -2, -3, 4]]))
def as_many_steps_as_the_data_say(g: Graph) -> None:
    x = g.input("x", "n", 4)
    positive = g.op("Cast", g.op("Greater", x, 0.0), to=I64)
    trips = g.op("ReduceSum", positive, keepdims=0)
    body = g.body()
    i, go = body.taken(kind=I64), body.taken(kind=BOOL)
    body.output(body.op("Identity", go), kind=BOOL)
    body.output(body.op("Cast", i, to=F))
    g.output(g.op("Loop", trips, TRUE, body=body.proto()), "k")


@zoo.add(COME_AND_GO, a=feeds([[-1, 1, 1, 1]]), b=feeds([[1, 1, 1, 1]]))
def bifurcated_sequence(g: Graph) -> None:
    x = g.input("x", "n", 4)
    parts = g.op("SplitToSequence", x, axis=0, keepdims=0)
    chosen = g.op("SequenceAt", parts, np.int64(0))
    g.output(g.op("Unsqueeze", chosen, [0]), None, 4)


TEXTS = [feeds(np.array(["a b"], object)), feeds(np.array(["b a b a b", "a"], object))]
MARKS = {"mark": 0, "mincharnum": 1, "separators": [" "]}
TERMS = {"min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0, "mode": "TF"}


@zoo.add(COME_AND_GO, *TEXTS)
def padding_that_is_a_word_of_the_pool(g: Graph) -> None:
    words = g.ms("Tokenizer", g.input("x", "n", kind=STRING), pad_value="#", **MARKS)
    pool = {"ngram_counts": [0], "ngram_indexes": [0, 1], "pool_strings": ["a", "#"]}
    g.output(g.op("TfIdfVectorizer", words, **TERMS, **pool), "n", 2)


@zoo.add(COME_AND_GO, *TEXTS)
def words_padded_to_the_longest_text(g: Graph) -> None:
    words = g.ms("Tokenizer", g.input("x", "n", kind=STRING), pad_value="#", **MARKS)
    g.output(g.op("Identity", words), "n", "words", kind=STRING)
