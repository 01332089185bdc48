"""What an MLflow folder asks of the session, beside what the model's own configuration says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.errors import LoadError
from serving.loading.mlflow_model import MlflowVersion, of_version
from serving.model_config import load_model_config
from serving.model_config.schema import ModelConfig, SessionOptions
from serving.settings import Settings, load_settings
from tests.mlflow_models import mlmodel

CPU = "CPUExecutionProvider"


def _of(
    folder: Path,
    config: ModelConfig | None = None,
    settings: Settings | None = None,
    said: dict[str, Any] | None = None,
    **flavor: Any,
) -> MlflowVersion:
    (folder / "MLmodel").write_text(yaml.safe_dump(said or mlmodel(**flavor)))
    return of_version(folder, config or ModelConfig(), settings or Settings())


def _options(folder: Path, config: ModelConfig | None = None, **options: Any) -> SessionOptions:
    return _of(folder, config, onnx_session_options=options).config.session


def test_a_folder_of_nobody_changes_nothing(tmp_path: Path) -> None:
    config = ModelConfig(instances=3)
    assert of_version(tmp_path, config, Settings()) == MlflowVersion(config)


@pytest.mark.parametrize(
    ("number", "level"),
    [(0, "disabled"), (1, "basic"), (2, "extended"), (99, "all"), (None, None)],
)
def test_every_level_is_honoured_also_zero(tmp_path: Path, number: int | None, level: str) -> None:
    found = _options(tmp_path, graph_optimization_level=number)
    assert found.graph_optimization_level == level


def test_session_options_are_taken_where_the_configuration_says_nothing(tmp_path: Path) -> None:
    said = {
        "intra_op_num_threads": 3,
        "inter_op_num_threads": 2,
        "execution_mode": "parallel",
        "graph_optimization_level": 1,
        "extra_session_config": {"session.disable_prepacking": "1", "b.c": 2},
    }
    found = _options(tmp_path, **said)
    assert found == SessionOptions(
        graph_optimization_level="basic",
        intra_op_threads=3,
        inter_op_threads=2,
        execution_mode="parallel",
        entries={"session.disable_prepacking": "1", "b.c": "2"},
    )
    own = SessionOptions(
        graph_optimization_level="extended", intra_op_threads=1, entries={"b.c": "3"}
    )
    both = _options(tmp_path, ModelConfig(session=own), **said)
    assert (both.graph_optimization_level, both.intra_op_threads) == ("extended", 1)
    assert (both.inter_op_threads, both.entries["b.c"]) == (2, "3")
    assert _options(tmp_path) == SessionOptions()


def test_what_the_configuration_says_goes_before_also_where_it_is_the_default(
    tmp_path: Path,
) -> None:
    text = (
        "session: {graph_optimization_level: all, execution_mode: sequential,"
        " intra_op_threads: 0, inter_op_threads: 0}"
    )
    pbtxt = 'parameters { key: "execution_mode" value { string_value: "0" } }'
    asked = {
        "graph_optimization_level": 1,
        "execution_mode": "parallel",
        "intra_op_num_threads": 3,
        "inter_op_num_threads": 3,
    }
    yaml_file, triton = tmp_path / "model.yaml", tmp_path / "config.pbtxt"
    yaml_file.write_text(text)
    own = _options(tmp_path, load_model_config(tmp_path), **asked)
    assert (own.graph_optimization_level, own.execution_mode) == ("all", "sequential")
    assert (own.intra_op_threads, own.inter_op_threads) == (0, 0)
    yaml_file.unlink()
    triton.write_text(pbtxt)
    own = _options(tmp_path, load_model_config(tmp_path), **asked)
    assert (own.graph_optimization_level, own.execution_mode) == ("basic", "sequential")


def test_providers_that_are_not_here_are_left_out(tmp_path: Path) -> None:
    default = _of(tmp_path, providers=["CUDAExecutionProvider", CPU])
    # What MLflow writes where nobody chose says nothing: the settings' providers count.
    assert (default.config.providers_prefer, default.notes) == (None, ())
    chosen = _of(tmp_path, providers=[["CUDAExecutionProvider", {"device_id": 0}], CPU])
    assert chosen.config.providers_prefer == (CPU,)
    pairs = [["TensorrtExecutionProvider", {"device_id": 1}], [CPU, {"use_arena": True}]]
    found = _of(tmp_path, providers=pairs)
    assert found.config.providers_prefer == (CPU,)
    assert found.config.provider_options[CPU] == {"use_arena": "1"}
    assert "asks for TensorrtExecutionProvider, which is not available" in found.notes[0]
    assert _of(tmp_path, providers=CPU).config.providers_prefer == (CPU,)
    assert _of(tmp_path, providers=None).config.providers_prefer is None
    own = ModelConfig(providers_prefer=("CUDAExecutionProvider",))
    assert _of(tmp_path, own, providers=[CPU]).config == own


def test_threads_give_way_to_a_shared_pool(tmp_path: Path) -> None:
    settings, _ = load_settings({"threads.shared_pool": "true"}, None, {})
    options = {"intra_op_num_threads": 3}
    found = _of(tmp_path, settings=settings, onnx_session_options=options)
    assert found.config.session == replace(SessionOptions(), entries={})
    assert "all models share theirs" in found.notes[0]


@pytest.mark.parametrize(
    ("flavor", "words"),
    [
        ({"providers": 5}, "its providers must be a list"),
        ({"providers": [CPU] * 65}, "its providers are too many"),
        ({"providers": ["x" * 257]}, "or have long names"),
        ({"providers": [[CPU]]}, "a provider is a name, or a name with options"),
        ({"providers": [[CPU, {"a": []}]]}, "an option must be a text or a number"),
        ({"onnx_session_options": []}, "must be a table of keys"),
        ({"onnx_session_options": {"graph_optimization_level": 7}}, "must be one of 0, 1, 2"),
        ({"onnx_session_options": {"graph_optimization_level": [1]}}, "must be one of 0, 1, 2"),
        ({"onnx_session_options": {"execution_mode": "both"}}, "sequential, parallel"),
        ({"onnx_session_options": {"execution_mode": {"a": 1}}}, "sequential, parallel"),
        ({"onnx_session_options": {"intra_op_num_threads": -1}}, "an integer of 0 to 1024"),
        (
            {"onnx_session_options": {"extra_session_config": {"ep.custom_library_path": "x.so"}}},
            "is refused",
        ),
    ],
)
def test_what_no_session_has_is_refused_in_words(
    tmp_path: Path, flavor: dict[str, Any], words: str
) -> None:
    with pytest.raises(LoadError, match=words):
        _of(tmp_path, **flavor)


def test_another_flavor_is_refused_where_there_is_no_onnx_file(tmp_path: Path) -> None:
    said = mlmodel(flavors={"sklearn": {}, "python_function": {}})
    with pytest.raises(LoadError, match=r"no flavor 'onnx' \(but python_function, sklearn\)"):
        _of(tmp_path, said=said)
    (tmp_path / "model.onnx").write_bytes(b"0")
    assert _of(tmp_path, said=said).config == ModelConfig()
