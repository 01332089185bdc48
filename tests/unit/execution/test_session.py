"""Sessions: signatures, providers, threads and runs."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.errors import LoadError
from serving.execution import providers, runtime
from serving.execution.session import load_runner
from serving.model_config.schema import ModelConfig, TensorConfig
from serving.settings import Settings, load_settings
from serving.signature import LeftOut
from tests.unit import graphs
from tests.unit.graphs import BF16, FLOAT, FP16, STRING

CPU = "CPUExecutionProvider"


def load(tmp_path, made, config=None):
    return load_runner(graphs.write(tmp_path, made), config or ModelConfig(), Settings())


def test_the_signature_comes_from_the_graph(tmp_path):
    made = graphs.one("Identity", [("a", FLOAT, ["n", None, 3])], [("y", FLOAT, ["n", None, 3])])
    (tensor,) = load(tmp_path, made).signature.inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("a", "FP32", (-1, -1, 3))
    assert tensor.dim_names == ("n", "", "3")


def test_graph_inputs_with_an_initializer_are_optional(tmp_path):
    values = [("a", FLOAT, ["n", 3]), ("w", FLOAT, [3])], [("y", FLOAT, ["n", 3])]
    runner = load(tmp_path, graphs.one("Add", *values, {"w": np.ones(3, np.float32)}, ["a", "w"]))
    assert [(t.name, t.optional) for t in runner.signature.inputs] == [("a", False), ("w", True)]
    zeros = np.zeros((1, 3), np.float32)
    assert runner.run(["y"], {"a": zeros})[0].tolist() == [[1, 1, 1]]
    assert runner.run(["y"], {"a": zeros, "w": zeros[0]})[0].tolist() == [[0, 0, 0]]


def test_an_input_may_be_declared_optional_only_where_the_graph_has_a_default(tmp_path):
    config = ModelConfig(inputs=(TensorConfig("x", optional=True),))
    with pytest.raises(LoadError, match="'x': optional, but the graph has no value"):
        load(tmp_path, graphs.softmax(), config)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (TensorConfig("z"), "no input 'z'"),
        (TensorConfig("x", datatype="FP64"), "says FP64, the model has FP32"),
        (TensorConfig("x", shape=(-1, 5)), r"says \[-1, 5\], the model has \[-1, 4\]"),
        (TensorConfig("x", shape=(-1, -1)), r"says \[-1, -1\], the model has \[-1, 4\]"),
        (TensorConfig("x", shape=(4,)), r"says \[4\], the model has \[-1, 4\]"),
    ],
)
def test_a_configuration_that_contradicts_the_graph_fails_the_load(tmp_path, said, words):
    with pytest.raises(LoadError, match=words):
        load(tmp_path, graphs.softmax(), ModelConfig(inputs=(said,)))


@pytest.mark.parametrize(
    ("type_proto", "words"),
    [
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [2])), "seq"),
        (helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [2])), "optional"),
        (helper.make_tensor_type_proto(TensorProto.FLOAT8E4M3FN, [2]), ".*float8"),
    ],
)
def test_an_input_that_no_tensor_protocol_carries_fails_the_load(tmp_path, type_proto, words):
    value = [helper.make_value_info(name, type_proto) for name in ("a", "y")]
    node = helper.make_node("Identity", ["a"], ["y"])
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(LoadError, match=f"input 'a' is {words}"):
        load(tmp_path, made)


def test_an_output_that_is_no_tensor_is_left_out_in_words(tmp_path):
    from onnxruntime.datasets import get_example

    place = tmp_path / "m" / "1"
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(Path(get_example("logreg_iris.onnx")).read_bytes())
    signature = load_runner(place, ModelConfig(), Settings()).signature
    assert [tensor.name for tensor in signature.outputs] == ["label"]
    assert signature.left_out == (LeftOut("probabilities", "seq(map(int64,tensor(float)))"),)


def test_a_model_with_no_tensor_output_fails_the_load(tmp_path):
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [2]))
    node = helper.make_node("SequenceConstruct", ["a"], ["y"])
    inputs = [helper.make_tensor_value_info("a", 1, [2])]
    graph = helper.make_graph([node], "g", inputs, [helper.make_value_info("y", sequence)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(LoadError, match="no output that a tensor protocol can carry"):
        load(tmp_path, made)


def test_a_name_that_is_no_text_is_told(tmp_path):
    """onnxruntime loads such a model, and can't say its name."""
    made = graphs.one("Identity", [("aaaa", FLOAT, [2])], [("y", FLOAT, [2])]).SerializeToString()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(made.replace(b"aaaa", b"a\xff\xfea"))
    with pytest.raises(LoadError, match="the name of an input or output is no UTF-8"):
        load_runner(tmp_path / "1", ModelConfig(), Settings())


def test_an_input_without_any_shape_needs_one_from_the_configuration(tmp_path):
    made = graphs.one("Identity", [("a", FLOAT, None)], [("y", FLOAT, None)])
    with pytest.raises(LoadError, match="'a' states no shape"):
        load(tmp_path, made)
    said = TensorConfig("a", shape=(-1, 2))
    out = TensorConfig("y", shape=(-1, 2))
    signature = load(tmp_path, made, ModelConfig(inputs=(said,), outputs=(out,))).signature
    assert signature.inputs[0].shape == (-1, 2)
    assert signature.outputs[0].shape == (-1, 2)


def test_a_model_without_inputs_runs(tmp_path):
    value = numpy_helper.from_array(np.arange(3, dtype=np.float32))
    made = graphs.model([graphs.node("Constant", [], ["y"], value=value)], [], [("y", FLOAT, [3])])
    runner = load(tmp_path, made)
    assert runner.signature.inputs == ()
    assert runner.run(["y"], {})[0].tolist() == [0, 1, 2]


def test_scalars_stay_arrays_of_rank_0(tmp_path):
    runner = load(tmp_path, graphs.one("Neg", [("a", FLOAT, [])], [("y", FLOAT, [])]))
    (answer,) = runner.run(["y"], {"a": np.asarray(np.float32(2))})
    assert isinstance(answer, np.ndarray)
    assert (answer.shape, float(answer)) == ((), -2.0)


def test_strings_go_in_and_out_as_objects(tmp_path):
    runner = load(tmp_path, graphs.one("Identity", [("a", STRING, ["n"])], [("y", STRING, ["n"])]))
    given = np.array(["", "äöü", "a\0b"], object)
    assert runner.run(["y"], {"a": given})[0].tolist() == given.tolist()


def test_fp16_runs_as_numpy_has_it(tmp_path):
    runner = load(tmp_path, graphs.one("Identity", [("a", FP16, ["n"])], [("y", FP16, ["n"])]))
    answer = runner.run(["y"], {"a": np.array([0.5], np.float16)})[0]
    assert answer.dtype == np.float16


@pytest.mark.parametrize("count", [0, 5])
def test_bf16_goes_in_as_its_bits_and_leaves_as_an_address(tmp_path, count):
    import ctypes

    made = graphs.one("Identity", [("a", BF16, ["n"])], [("y", BF16, ["n"])])
    runner = load(tmp_path, made)
    bits = np.arange(0x3F80, 0x3F80 + count, dtype=np.uint16)
    outputs = runner.run(["y"], {"a": bits})
    address, datatype, shape = outputs[0]
    assert (datatype, shape) == ("BF16", (count,))
    if count:
        assert ctypes.string_at(address, 2 * count) == bits.tobytes()


def test_bf16_beside_other_types(tmp_path):
    made = graphs.one("Cast", [("a", BF16, ["n"])], [("y", FLOAT, ["n"])], to=FLOAT)
    outputs = load(tmp_path, made).run(["y"], {"a": np.array([0x3F80], np.uint16)})
    assert outputs[0].tolist() == [1.0]


def test_only_the_outputs_asked_for_are_computed(tmp_path):
    nodes = [graphs.node("Neg", ["a"], ["y"]), graphs.node("Abs", ["a"], ["z"])]
    values = [("a", FLOAT, ["n"])], [("y", FLOAT, ["n"]), ("z", FLOAT, ["n"])]
    runner = load(tmp_path, graphs.model(nodes, *values))
    (answer,) = runner.run(["z"], {"a": np.array([-3], np.float32)})
    assert answer.tolist() == [3]


def test_a_closed_runner_refuses_and_frees_its_session(tmp_path):
    import weakref

    runner = load(tmp_path, graphs.softmax())
    session = weakref.ref(runner._session)
    runner.close()
    assert session() is None
    with pytest.raises(RuntimeError):
        runner.run(["p"], {})


# Providers


def test_the_provider_that_got_the_nodes_is_named(tmp_path):
    runner = load(tmp_path, graphs.softmax())
    assert runner.provider == CPU
    assert runner.providers == {CPU: 2}


def test_fault_92_a_required_provider_that_is_missing_fails_the_load(tmp_path):
    config = ModelConfig(providers_require=("CUDAExecutionProvider",))
    with pytest.raises(
        LoadError,
        match=r"provider CUDAExecutionProvider is not available.*CPUExecutionProvider",
    ):
        load(tmp_path, graphs.softmax(), config)


def test_fault_92_a_preferred_provider_that_is_missing_is_said(tmp_path):
    config = ModelConfig(providers_prefer=("CUDAExecutionProvider", CPU))
    runner = load(tmp_path, graphs.softmax(), config)
    assert runner.notes == ("preferred provider CUDAExecutionProvider is missing",)
    assert runner.provider == CPU


def test_fault_92_a_required_provider_without_a_node_fails_the_load():
    with pytest.raises(
        LoadError,
        match=r"CUDAExecutionProvider got no node of the graph \(CPUExecutionProvider 7\)",
    ):
        providers.check_required(["cuda"], ["CUDAExecutionProvider", CPU], {CPU: 7})
    with pytest.raises(
        LoadError, match=r"CUDAExecutionProvider did not start \(active: CPUExecutionProvider\)"
    ):
        providers.check_required(["cuda"], [CPU], {CPU: 7})
    providers.check_required(["cpu"], [CPU], {})


def test_providers_are_tried_in_the_order_of_preference():
    have = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]
    assert providers.choose(have, ["cuda"], []).order == ("CUDAExecutionProvider", CPU)
    assert providers.choose(have, ["tensorrt"], []).order == tuple(have)
    assert providers.choose(have, [], ["cuda"]).order == ("CUDAExecutionProvider", CPU)
    assert providers.choose([CPU], ["openvino"], []).missing == ("OpenVINOExecutionProvider",)
    assert providers.choose([CPU], [], []).order == (CPU,)


def test_names_of_providers_are_known_short_and_in_full():
    for short, full in providers.SHORT_NAMES.items():
        assert providers.full_name(short.upper()) == full
        assert providers.full_name(full) == full


# The runtime: in processes of their own, since onnxruntime is set up once for each.


def python(code: str, **environ: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_telemetry_is_off_before_the_import_and_the_home_stays_empty(tmp_path):
    code = """
        import os
        os.environ.pop("ORT_DISABLE_TELEMETRY", None)
        from serving.execution.runtime import ort
        ort()
        print(os.environ["ORT_DISABLE_TELEMETRY"])
    """
    assert python(code, HOME=str(tmp_path), XDG_CACHE_HOME="") == "1"
    assert list(tmp_path.iterdir()) == []


def test_an_operator_may_opt_in_to_telemetry(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    runtime.ort()
    import os

    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"


def test_fault_13_options_inside_a_model_are_never_read(monkeypatch):
    import os

    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    runtime.ort()
    assert "ORT_LOAD_CONFIG_FROM_MODEL" not in os.environ


def test_a_missing_onnxruntime_names_the_extras():
    code = """
        import sys
        sys.modules["onnxruntime"] = None
        from serving.errors import ConfigError
        from serving.execution.runtime import ort
        try:
            ort()
        except ConfigError as error:
            print(error)
    """
    words = python(code)
    assert "serving[cpu]" in words
    assert "serving[gpu]" in words


_THREADS = """
    import os
    from pathlib import Path
    from serving.errors import LoadError
    from serving.execution import runtime, session
    from serving.model_config.schema import ModelConfig, SessionOptions
    from serving.settings import load_settings
    runtime.ort()
    before = len(os.listdir("/proc/self/task"))
    def new_threads():
        return len(os.listdir("/proc/self/task")) - before
    def load(source="none", intra=None):
        config = ModelConfig(source=source, session=SessionOptions(intra_op_threads=intra))
        return session.load_runner(Path({place!r}), config, settings)
"""


def _in_a_process(place: Path, code: str) -> list[str]:
    before = textwrap.dedent(_THREADS).format(place=str(place))
    return python(before + textwrap.dedent(code)).splitlines()


def test_each_session_has_its_own_threads_as_the_model_or_else_the_settings_say(tmp_path):
    code = """
        settings, _ = load_settings({"threads.intra_op": 3}, None, {})
        assert runtime.start_global_pool(settings) is None
        runners = [load(), load("model.yaml", 2), load("config.pbtxt", 4), load("model.yaml", 1)]
        print(new_threads(), *[runner.threads for runner in runners])
        print(*[len(runner.notes) for runner in runners])
    """
    # The calling thread is one of each session's.
    assert _in_a_process(graphs.write(tmp_path, graphs.softmax()), code) == [
        "6 3 2 4 1",
        "0 0 0 0",
    ]


def test_sessions_share_one_pool_where_the_settings_ask_for_it(tmp_path):
    code = """
        flags = {"threads.intra_op": 3, "threads.shared_pool": True}
        settings, _ = load_settings(flags, None, {})
        assert runtime.start_global_pool(settings) == (3, 1)
        assert runtime.start_global_pool(settings) == (3, 1)
        runners = [load(), load("model.yaml", 3), load("model.yaml", 0)]
        print(new_threads(), *[runner.threads for runner in runners])
        try:
            load("model.yaml", 2)
        except LoadError as error:
            print(error.reason)
        print(*load("config.pbtxt", 2).notes)
    """
    shared, *other = _in_a_process(graphs.write(tmp_path, graphs.softmax()), code)
    assert shared == "2 3 3 3"
    words = (
        "the configuration asks for 2 intra-op and 1 inter-op threads, but all models share"
        " 3 and 1 (threads.shared_pool)"
    )
    assert other == [words, words]


def test_fault_69_a_session_that_finds_no_memory_may_be_tried_again(tmp_path):
    """Though onnxruntime has no class of error for it."""
    weights = {"w": np.zeros((4000, 4000), np.float32)}
    made = graphs.one("MatMul", [("x", FLOAT, ["n", 4000])], [("y", FLOAT, None)], weights)
    code = """
        import resource
        settings, _ = load_settings({}, None, {})
        size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGESIZE")
        limit = size + 96 * 2**20  # the file fits, its session does not
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            load()
        except LoadError as error:
            print(error.reason, error.retry, error.for_memory)
    """
    words = "there is not enough memory for the model later True"
    assert _in_a_process(graphs.write(tmp_path, made), code) == [words]


def test_session_options_reach_onnxruntime(tmp_path):
    place = graphs.write(tmp_path, graphs.softmax())
    code = f"""
        from pathlib import Path
        from serving.execution.session import load_runner
        from serving.model_config.schema import ModelConfig, SessionOptions
        from serving.settings import Settings
        said = SessionOptions(
            graph_optimization_level="basic",
            execution_mode="parallel",
            intra_op_threads=1,
            inter_op_threads=2,
            enable_mem_arena=False,
            enable_mem_pattern=False,
            entries={{"session.set_denormal_as_zero": "1"}},
        )
        runner = load_runner(Path({str(place)!r}), ModelConfig(session=said), Settings())
        options = runner._session.get_session_options()
        print(options.graph_optimization_level.name, options.execution_mode.name)
        print(options.intra_op_num_threads, options.inter_op_num_threads)
        print(options.enable_cpu_mem_arena, options.enable_mem_pattern)
        for key in ("session.set_denormal_as_zero", "session.intra_op.allow_spinning"):
            print(options.get_session_config_entry(key))
    """
    levels, threads, memory, entry, spinning = python(code).splitlines()
    assert levels == "ORT_ENABLE_BASIC ORT_PARALLEL"
    assert threads == "1 2"
    assert memory == "False False"
    assert (entry, spinning) == ("1", "0")


def test_settings_require_providers_for_every_model(tmp_path):
    settings, _ = load_settings({"providers.require": "cuda"}, None, {})
    with pytest.raises(LoadError, match="CUDAExecutionProvider is not available"):
        load_runner(graphs.write(tmp_path, graphs.softmax()), ModelConfig(), settings)
