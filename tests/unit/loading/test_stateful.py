"""Models that change with every request are refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from serving.errors import LoadError
from serving.execution.onnx_nodes import read_nodes
from serving.loading.loader import Loader
from serving.loading.stateful import check_stateless
from serving.model_config.schema import ModelConfig
from tests.unit import graphs
from tests.unit.graphs import FLOAT, node
from tests.unit.loading.test_loader import SETTINGS

X, Y = ("x", FLOAT, ["n", 2]), ("y", FLOAT, ["n", 2])
ONE, ZERO = np.ones(2, np.float32), np.zeros(2, np.float32)
CONSTANTS = {"s": ONE, "b": ZERO, "m": ZERO, "v": ONE}
NAMES = ["x", "s", "b", "m", "v"]


def normalized(outputs=("y", "om", "ov"), inputs=(X,), constants=CONSTANTS, opset=15, **attributes):
    made = node("BatchNormalization", NAMES, list(outputs), name="bn", **attributes)
    return graphs.model([made], inputs, [Y], constants, opset=opset)


def test_a_normalization_that_trains_on_constants_is_refused():
    with pytest.raises(LoadError, match=r"'bn' .* is in training mode"):
        check_stateless(read_nodes(normalized(training_mode=1).SerializeToString()))
    older = normalized(("y", "om", "ov", "sm", "sv"), opset=9)
    with pytest.raises(LoadError, match="training mode"):
        check_stateless(read_nodes(older.SerializeToString()))


def test_one_that_infers_or_whose_figures_come_along_is_not():
    check_stateless(read_nodes(normalized(("y",)).SerializeToString()))
    check_stateless(read_nodes(normalized(("y",), opset=9).SerializeToString()))
    inputs = (X, ("m", FLOAT, [2]), ("v", FLOAT, [2]))
    brought = normalized(inputs=inputs, constants={"s": ONE, "b": ZERO}, training_mode=1)
    check_stateless(read_nodes(brought.SerializeToString()))


def test_it_is_seen_in_branches_and_functions():
    inner = node("BatchNormalization", NAMES, ["z", "om", "ov"], training_mode=1)
    branch = helper.make_graph([inner], "b", [], [helper.make_tensor_value_info("z", FLOAT, None)])
    nodes = [node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
    made = graphs.model(nodes, [X], [Y], {**CONSTANTS, "c": np.array(True)}, opset=15)
    with pytest.raises(LoadError, match="training mode"):
        check_stateless(read_nodes(made.SerializeToString()))


@pytest.mark.parametrize("trial", ["on", "off"])
def test_a_version_that_trains_is_not_served(tmp_path, trial):
    settings = SETTINGS.model_copy(
        update={"loading": SETTINGS.loading.model_copy(update={"trial": trial})}
    )
    place = graphs.write(tmp_path, normalized(training_mode=1))
    loader = Loader(settings)
    try:
        with pytest.raises(LoadError, match="export the model for inference"):
            loader(name="m", version=1, path=place, config=ModelConfig(), settings=settings)
    finally:
        loader.close()
