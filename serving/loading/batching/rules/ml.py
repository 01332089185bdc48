"""Classical models (``ai.onnx.ml``): a table of features, a row of it for each request's row.

A vector is one row for most of them, so that rows along it are taken for features. What a
vector is to each, the specification leaves open: onnxruntime was asked.
"""

from __future__ import annotations

from serving.loading.batching.call import ML, Call, broadcast, normal, rule
from serving.loading.batching.rules.normalization import on_axis_0
from serving.loading.batching.symbols import Dim, product
from serving.loading.batching.values import Kind, Shape, Value, rows, same

ONE_ROW = "it takes a vector for one row"
FEATURES = "it takes the rows for features"


def table(call: Call, value: Value, *columns: Dim) -> Value:
    """[rows, features] -> [rows, *columns]: each row by itself."""
    if not value.has_rows:
        return same()
    if value.shape is None or len(value.shape) > 2:
        return call.lost("it is specified for tables only")
    if len(value.shape) == 1:
        return call.mixed(ONE_ROW)
    return call.mixed(FEATURES) if value.axis else rows((1, *columns), 0, value.block)


def length(call: Call, attribute: str) -> int | None:
    """How many elements a list has, None where it is not given."""
    texts = call.texts(attribute)
    if texts is not None:
        return len(texts)
    constant = call.tensor(attribute)
    return constant.dims[0] if constant is not None and len(constant.dims) == 1 else None


@rule("Binarizer", "CategoryMapper", "LabelEncoder", domain=ML)
def each_element(call: Call) -> Value:
    return broadcast(call, [call.input(0)])


@rule("OneHotEncoder", domain=ML)
def one_hot_encoder(call: Call) -> Value:
    """Adds a last dimension, one place for each category."""
    value = call.input(0)
    if value.shape is None:
        return same()
    known = length(call, "cats_int64s") or length(call, "cats_strings")
    places: Dim = known or call.symbols.fresh()
    shape = (*value.shape, places)
    return value.rows_like(shape, value.axis) if value.has_rows else same(shape)


@rule("Scaler", domain=ML)
def scaler(call: Call) -> Value:
    """One offset and scale for all, or one for each feature, which is the second dimension."""
    return _by_feature(call, max(length(call, name) or 1 for name in ("scale", "offset")))


@rule("Imputer", domain=ML)
def imputer(call: Call) -> Value:
    """As many values as features go to a feature each; of any other number the first."""
    names = ("imputed_value_floats", "imputed_value_int64s")
    return _by_feature(call, max(length(call, name) or 1 for name in names))


def _by_feature(call: Call, given: int) -> Value:
    value = call.input(0)
    if not value.has_rows or given == 1:
        return broadcast(call, [value])
    if value.rank == 1:
        return call.mixed(ONE_ROW)
    return on_axis_0(call, value)


@rule("Normalizer", domain=ML)
def normalizer(call: Call) -> Value:
    """By the largest, or the sum, of each row."""
    value = call.input(0)
    return table(call, value, *(value.shape or ())[1:])


@rule("LinearRegressor", domain=ML)
def linear_regressor(call: Call) -> Value:
    return table(call, call.input(0), call.number("targets", 1))


@rule("SVMRegressor", domain=ML)
def svm_regressor(call: Call) -> Value:
    return table(call, call.input(0), 1)


@rule("TreeEnsemble", "TreeEnsembleRegressor", domain=ML)
def trees(call: Call) -> Value:
    return table(call, call.input(0), call.number("n_targets") or call.symbols.fresh())


@rule("TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier", domain=ML)
def classifier(call: Call) -> list[Value]:
    """A label and the scores of a row."""
    value = call.input(0)
    return [table(call, value), table(call, value, _scores(call))]


def _scores(call: Call) -> Dim:
    """How many scores a row has, where that is sure."""
    labels = {
        "TreeEnsembleClassifier": length(call, "classlabels_int64s"),
        "LinearClassifier": length(call, "intercepts"),
    }.get(call.node.operator)
    return labels if labels is not None and labels > 1 else call.symbols.fresh()


@rule("FeatureVectorizer", domain=ML)
def feature_vectorizer(call: Call) -> Value:
    """Puts the first columns of each table side by side, as many as ``inputdimensions``."""
    values = call.there()
    width: Dim = sum(call.integers("inputdimensions") or []) or call.symbols.fresh()
    made = [table(call, value, width) for value in values if value.has_rows]
    spoilt = next((one for one in made if one.spoilt), None)
    if spoilt is not None:
        return spoilt
    if len(made) < len(values):
        return call.never("it joins rows with something made for one number of rows")
    if any(one.block != made[0].block for one in made):
        return call.lost("its inputs have different numbers of elements a row")
    return made[0]


@rule("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(call: Call) -> Value:
    """Picks along the last axis, by indices read as one list. Of a vector: [1, picked]."""
    value, indices = call.input(0), call.input(1)
    if value.shape is None or indices.shape is None:
        return call.lost("its input's rank is not known")
    if indices.has_rows:
        return _picked_by_rows(call, value, indices)
    last = normal(-1, len(value.shape))
    if value.has_rows and value.axis == last:
        return call.mixed("it picks rows out of the batch by constant indices")
    shape = (*(value.shape[:-1] or (1,)), product(indices.shape))
    return Value(Kind.ROWS, shape, value.axis, value.block) if value.has_rows else same(shape)


def _picked_by_rows(call: Call, value: Value, indices: Value) -> Value:
    """Labels by their numbers: each row brings its own places in a constant."""
    if value.has_rows:
        return call.mixed("it picks from every row what any row asks for")
    picked, lines = indices.shape or (), value.shape or ()
    if product(picked[: indices.axis]) != 1:
        return call.lost("it flattens indices in which rows are not outermost")
    block = indices.block * product(picked[indices.axis + 1 :])
    shape: Shape = (*(lines[:-1] or (1,)), 1)
    return rows(shape, len(shape) - 1, block)
