"""Settings: precedence, origins, and what is wrong said in one line each."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from typer.testing import CliRunner

from serving import machine
from serving.cli import app
from serving.errors import ConfigError
from serving.settings import (
    Settings,
    default_state_dir,
    describe,
    ignored_environment,
    load_settings,
)
from serving.settings.shown import settings_json
from serving.settings.template import commented_yaml

DOCS = Path(__file__).resolve().parents[3] / "docs" / "settings.md"

# Every setting with a value that is not its default, as text and as it is read.
CHANGED: dict[str, tuple[str, object]] = {
    "host": ("0.0.0.0", "0.0.0.0"),
    "http_port": ("0", 0),
    "grpc_port": ("9001", 9001),
    "admin_host": ("::1", "::1"),
    "admin_port": ("9002", 9002),
    "admin_token_file": ("/run/token", Path("/run/token")),
    "state_dir": ("/var/lib/serving", Path("/var/lib/serving")),
    "model_control": ("both", "both"),
    "load_models": ("a, b", ("a", "b")),
    "readiness": ("strict", "strict"),
    "require_models": ("true", True),
    "name": ("mine", "mine"),
    "log.level": ("debug", "debug"),
    "console.enabled": ("false", False),
    "console.curve_versions": ("10", 10),
    "log.format": ("json", "json"),
    "limits.max_message_bytes": ("1048576", 1048576),
    "limits.max_head_bytes": ("16384", 16384),
    "limits.max_connections": ("5", 5),
    "limits.max_streams": ("7", 7),
    "limits.head_timeout_s": ("1.5", 1.5),
    "limits.body_timeout_s": ("2", 2.0),
    "limits.idle_timeout_s": ("3", 3.0),
    "limits.max_connection_age_s": ("4", 4.0),
    "limits.stream_in_flight": ("8", 8),
    "limits.process_bytes": ("123456", 123456),
    "limits.connection_share": ("0.1", 0.1),
    "limits.address_share": ("0.2", 0.2),
    "limits.max_string_elements": ("9", 9),
    "limits.request_timeout_s": ("0", 0.0),
    "limits.run_timeout_s": ("5", 5.0),
    "log.access_rate": ("0.5", 0.5),
    "gates.safe_to_serve": ("true", True),
    "gates.file": ("/etc/serving/gates.yaml", Path("/etc/serving/gates.yaml")),
    "gates.p99_factor": ("3", 3.0),
    "gates.min_examples": ("7", 7),
    "gates.timeout_s": ("9", 9.0),
    "gates.parallel": ("3", 3),
    "gates.replay": ("false", False),
    "gates.replay_requests": ("5", 5),
    "gates.replay_bytes": ("1000", 1000),
    "tracking.window_s": ("30", 30.0),
    "tracking.buffer_bytes": ("1000", 1000),
    "tracking.mlflow.uri": ("http://localhost:5000", "http://localhost:5000"),
    "tracking.mlflow.token": ("secret", SecretStr("secret")),
    "tracking.mlflow.experiment": ("mine", "mine"),
    "tracking.mlflow.timeout_s": ("1", 1.0),
    "tracking.mlflow.run_age_s": ("3600", 3600.0),
    "tracking.jsonl.path": ("/var/lib/windows", Path("/var/lib/windows")),
    "tracking.jsonl.max_file_bytes": ("1000", 1000),
    "tracking.jsonl.max_files": ("3", 3),
    "tracking.otlp.endpoint": ("http://localhost:4318", "http://localhost:4318"),
    "tracking.otlp.protocol": ("grpc", "grpc"),
    "tracking.otlp.headers": ("a=b", SecretStr("a=b")),
    "tracing.rate": ("0.25", 0.25),
    "tracing.endpoint": ("http://localhost:4318", "http://localhost:4318"),
    "tracing.protocol": ("grpc", "grpc"),
    "tracing.headers": ("a=b", SecretStr("a=b")),
    "tracing.buffer_spans": ("100", 100),
    "request_log.path": ("/var/lib/requests", Path("/var/lib/requests")),
    "request_log.rate": ("1", 1.0),
    "request_log.format": ("parquet", "parquet"),
    "request_log.max_file_bytes": ("1000", 1000),
    "request_log.max_bytes": ("2000", 2000),
    "request_log.max_request_bytes": ("300", 300),
    "request_log.buffer_bytes": ("4000", 4000),
    "request_log.replayed": ("true", True),
    "request_log.redact": ("a, b*", ("a", "b*")),
    "statistics.enabled": ("false", False),
    "statistics.samples_per_second": ("0", 0.0),
    "statistics.max_samples_per_second": ("7", 7.0),
    "statistics.max_values_per_second": ("1000", 1000.0),
    "statistics.max_features": ("9", 9),
    "statistics.max_window_bytes": ("100000", 100000),
    "statistics.memory_bytes": ("2000000", 2000000),
    "statistics.window_s": ("30", 30.0),
    "statistics.keep_windows": ("5", 5),
    "statistics.keep_hours": ("6", 6),
    "statistics.keep_days": ("7", 7),
    "validation.mode": ("reject", "reject"),
    "mlflow.default_model": ("m", "m"),
    "mlflow.strict": ("true", True),
    "mlflow.lossy_casts": ("true", True),
    "mlflow.schema_details": ("false", False),
    "http.pages": ("false", False),
    "http.allowed_hosts": ("a.example, *.b.example", ("a.example", "*.b.example")),
    "http.cors_origins": ("https://a.example, *", ("https://a.example", "*")),
    "grpc.compression": ("gzip", "gzip"),
    "threads.io": ("3", 3),
    "threads.intra_op": ("5", 5),
    "threads.inter_op": ("2", 2),
    "threads.shared_pool": ("true", True),
    "threads.permits": ("6", 6),
    "threads.lend_permit_s": ("0.5", 0.5),
    "threads.load": ("2", 2),
    "threads.calls": ("4", 4),
    "threads.switch_interval_s": ("0.005", 0.005),
    "batching.enabled": ("false", False),
    "batching.open": ("tested", "tested"),
    "batching.max_rows": ("16", 16),
    "batching.delay_us": ("500", 500),
    "batching.max_queue_requests": ("10", 10),
    "batching.max_queue_rows": ("11", 11),
    "batching.max_queue_bytes": ("12", 12),
    "state.when_held": ("memory", "memory"),
    "registry.settle_s": ("0", 0.0),
    "registry.scan_interval_s": ("0.5", 0.5),
    "registry.watch": ("false", False),
    "registry.follow_symlinks": ("true", True),
    "registry.stores": ("s3://a/b, file:///c", ("s3://a/b", "file:///c")),
    "registry.store_poll_s": ("1", 1.0),
    "registry.store_timeout_s": ("1", 1.0),
    "registry.configs": ("/etc/models", Path("/etc/models")),
    "registry.cache_bytes": ("1000", 1000),
    "registry.mlflow.models": ("a, b@champion", ("a", "b@champion")),
    "registry.mlflow.uri": ("http://localhost:5000", "http://localhost:5000"),
    "registry.mlflow.token": ("secret", SecretStr("secret")),
    "registry.mlflow.tags": ("a=b, !c", ("a=b", "!c")),
    "registry.mlflow.poll_s": ("1", 1.0),
    "registry.mlflow.timeout_s": ("1", 1.0),
    "registry.mlflow.webhook_secret": ("secret", SecretStr("secret")),
    "registry.mlflow.write_back.alias": ("champion", "champion"),
    "registry.mlflow.write_back.tags": ("a=b, c=d", ("a=b", "c=d")),
    "registry.mlflow.write_back.verdicts": ("false", False),
    "registry.mlflow.write_back.verdict_tag": ("judged", "judged"),
    "control.uploads": ("true", True),
    "shared_memory.enabled": ("true", True),
    "shared_memory.max_regions": ("3", 3),
    "shared_memory.max_bytes": ("4096", 4096),
    "tensorflow_serving.config_file": ("/etc/models.config", Path("/etc/models.config")),
    "tensorflow_serving.config_poll_s": ("0", 0.0),
    "tensorflow_serving.metrics": ("true", True),
    "loading.trial": ("off", "off"),
    "loading.slow_after_s": ("0.5", 0.5),
    "loading.trial_timeout_s": ("9", 9.0),
    "loading.warmup_timeout_s": ("1", 1.0),
    "loading.memory_bytes": ("1000", 1000),
    "loading.model_memory_bytes": ("100", 100),
    "loading.retry_first_s": ("0.5", 0.5),
    "loading.retry_max_s": ("7", 7.0),
    "isolation.mode": ("process", "process"),
    "isolation.memory_bytes": ("2000", 2000),
    "isolation.texts": ("100", 100),
    "isolation.restart_first_s": ("0.1", 0.1),
    "isolation.restart_max_s": ("3", 3.0),
    "rollout.keep_previous_s": ("0", 0.0),
    "rollout.hold_signature_changes": ("false", False),
    "rollout.forced_version": ("true", True),
    "rollout.patience_s": ("2", 2.0),
    "canary.automatic": ("true", True),
    "canary.newer": ("replaces", "replaces"),
    "canary.steps": ("10, 100", (10, 100)),
    "canary.every_s": ("0", 0.0),
    "canary.min_requests": ("7", 7),
    "canary.window_s": ("1", 1.0),
    "canary.confidence": ("0.9", 0.9),
    "canary.errors_factor": ("3", 3.0),
    "canary.errors_tolerated": ("0.01", 0.01),
    "canary.errors_floor": ("1", 1),
    "canary.p50_factor": ("1.5", 1.5),
    "canary.p99_factor": ("2", 2.0),
    "canary.latency_slack_s": ("0", 0.0),
    "canary.p50_requests": ("10", 10),
    "canary.p99_requests": ("200", 200),
    "canary.failing_requests": ("9", 9),
    "canary.sticky": ("x-user", "x-user"),
    "canary.nonfinite": ("false", False),
    "canary.drift.classes": ("0.1", 0.1),
    "canary.drift.scores": ("0.2", 0.2),
    "canary.drift.inputs": ("0.3", 0.3),
    "canary.drift.outputs": ("0.4", 0.4),
    "canary.drift.min_answers": ("50", 50),
    "shadow.copies": ("8", 8),
    "shadow.bytes": ("1000000", 1_000_000),
    "shadow.timeout_s": ("2", 2.0),
    "shadow.absolute_tolerance": ("0.5", 0.5),
    "shadow.relative_tolerance": ("0", 0.0),
    "shadow.examples": ("0", 0),
    "shadow.example_bytes": ("100", 100),
    "shadow.event_every_s": ("0", 0.0),
    "shutdown.drain_delay_s": ("0", 0.0),
    "shutdown.drain_timeout_s": ("1", 1.0),
    "providers.prefer": (
        "CUDAExecutionProvider, CPUExecutionProvider",
        ("CUDAExecutionProvider", "CPUExecutionProvider"),
    ),
    "providers.require": ("CUDAExecutionProvider", ("CUDAExecutionProvider",)),
}
# What the core is told, and by which setting.
CORE = {
    "host": "host",
    "http_port": "http_port",
    "grpc_port": "grpc_port",
    "max_message_bytes": "limits.max_message_bytes",
    "max_head_bytes": "limits.max_head_bytes",
    "max_connections": "limits.max_connections",
    "max_streams": "limits.max_streams",
    "head_timeout_s": "limits.head_timeout_s",
    "body_timeout_s": "limits.body_timeout_s",
    "idle_timeout_s": "limits.idle_timeout_s",
    "max_connection_age_s": "limits.max_connection_age_s",
    "stream_in_flight": "limits.stream_in_flight",
    "process_bytes": "limits.process_bytes",
    "connection_share": "limits.connection_share",
    "address_share": "limits.address_share",
    "request_timeout_s": "limits.request_timeout_s",
    "forced_version": "rollout.forced_version",
    "patience_s": "rollout.patience_s",
    "grpc_compression": "grpc.compression",
    "io_threads": "threads.io",
    "permits": "threads.permits",
    "lend_permit_s": "threads.lend_permit_s",
    "shared_memory": "shared_memory.enabled",
    "max_regions": "shared_memory.max_regions",
    "max_region_bytes": "shared_memory.max_bytes",
    "default_model": "mlflow.default_model",
    "pages": "http.pages",
    "allowed_hosts": "http.allowed_hosts",
    "cors_origins": "http.cors_origins",
    "tensorflow_metrics": "tensorflow_serving.metrics",
}


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "serving.yaml"
    path.write_text(text)
    return path


def _refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings({}, _written(tmp_path, text), {})
    return str(caught.value)


def _variable(key: str) -> str:
    return "SERVING_" + key.upper().replace(".", "__")


def test_every_setting_has_a_case_here() -> None:
    assert set(CHANGED) == {key for key, _ in describe()}


@pytest.mark.parametrize("key", CHANGED)
def test_fault_75_a_setting_changes_by_flag_environment_and_file(key: str, tmp_path: Path) -> None:
    text, expected = CHANGED[key]
    before = load_settings({}, None, {})[0].flat()[key]
    *sections, name = key.split(".")
    nested = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    yaml_text = f"{nested}{'  ' * len(sections)}{name}: '{text}'\n"
    file = _written(tmp_path, yaml_text)
    for origin, (settings, origins) in {
        "flag": load_settings({key: text}, None, {}),
        "environment": load_settings({}, None, {_variable(key): text}),
        "file": load_settings({}, file, {}),
    }.items():
        assert settings.flat()[key] == expected != before
        assert {k for k, o in origins.items() if o != "default"} == {key}
        assert origins[key] == origin


@pytest.mark.parametrize(("name", "key"), CORE.items())
def test_fault_75_the_core_is_told_of_a_changed_setting(name: str, key: str) -> None:
    text, expected = CHANGED[key]
    changed = load_settings({key: text}, None, {})[0].core()
    default = Settings().core()
    assert changed[name] == expected != default[name]
    assert {k for k in default if default[k] != changed[k]} == {name}


def test_the_core_is_told_nothing_else() -> None:
    assert set(Settings().core()) == {*CORE, "connections_advice"}


def test_the_file_to_start_from_loads_as_the_defaults(tmp_path: Path) -> None:
    defaults, origins = load_settings({}, None, {})
    text = commented_yaml(defaults, origins)
    loaded, origins = load_settings({}, _written(tmp_path, text), {})
    assert loaded == defaults
    assert set(origins.values()) == {"default"}
    for key, description in describe():
        assert f"#{key.rpartition('.')[2]}: " in text
        assert " ".join(description.split()) in " ".join(text.replace("# ", "").split())


def test_the_command_prints_the_file_to_start_from() -> None:
    done = CliRunner().invoke(app, ["settings", "--yaml", "--set", "http_port=0"])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert "http_port: 0" in lines
    assert "#grpc_port: 8081" in lines
    told = json.loads(CliRunner().invoke(app, ["settings", "--json"]).output)["settings"]
    assert [one["key"] for one in told] == [key for key, _ in describe()]


def test_every_line_of_the_file_to_start_from_can_be_used(tmp_path: Path) -> None:
    defaults, origins = load_settings({}, None, {})
    text = re.sub(r"(?m)^( *)#(\w+: .*)$", r"\1\2", commented_yaml(defaults, origins))
    loaded, origins = load_settings({}, _written(tmp_path, text), {})
    assert loaded == defaults
    assert set(origins.values()) == {"file"}


def test_the_file_to_start_from_holds_what_was_changed_and_no_secret(tmp_path: Path) -> None:
    changed = {key: text for key, (text, _) in CHANGED.items()}
    before, origins = load_settings(changed, None, {})
    text = commented_yaml(before, origins)
    loaded, _ = load_settings({}, _written(tmp_path, text), {})
    secrets = {key for key, (_, value) in CHANGED.items() if isinstance(value, SecretStr)}
    was, became = before.flat(), loaded.flat()
    assert {key for key in was if was[key] != became[key]} == secrets
    assert "secret" not in text.replace("password", "").replace("webhook_secret", "")


def test_stars_that_are_no_secret_stand_in_the_file_to_start_from(tmp_path: Path) -> None:
    before, origins = load_settings({"name": "a*****b"}, None, {})
    text = commented_yaml(before, origins)
    assert load_settings({}, _written(tmp_path, text), {})[0].name == "a*****b"


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path: Path) -> None:
    file = _written(tmp_path, "http_port: 1\ngrpc_port: 1\nadmin_port: 1\n")
    environ = {"SERVING_HTTP_PORT": "2", "SERVING_GRPC_PORT": "2"}
    settings, origins = load_settings({"http_port": 3, "name": None}, file, environ)
    assert (settings.http_port, settings.grpc_port, settings.admin_port) == (3, 2, 1)
    assert (origins["http_port"], origins["grpc_port"]) == ("flag", "environment")
    assert (origins["admin_port"], origins["name"]) == ("file", "default")


def test_serving_config_names_the_file(tmp_path: Path) -> None:
    file = _written(tmp_path, "limits: {max_streams: 9}")
    settings, origins = load_settings({}, None, {"SERVING_CONFIG": str(file)})
    assert settings.limits.max_streams == 9
    assert origins["limits.max_streams"] == "file"


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.limits.max_streams = 5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("max_streams: 3", "'max_streams' (did you mean 'limits.max_streams'?)"),
        ("limits: {max_streems: 3}", "'limits.max_streems' (did you mean 'limits.max_streams'?)"),
        ("batch: {max_rows: 3}", "no such setting: 'batch'"),
        ("limits: {zzz: 3}", "no such setting: 'limits.zzz'"),
        ("http_port: 1\nhttp_port: 2", "'http_port' is given twice (line 2)"),
        ("limits: {max_streams: 1, max_streams: 2}", "'max_streams' is given twice (line 1)"),
        ("limits: 3", "limits: expected settings by name, got 3"),
        ("- 1", "expected settings by name, got list"),
        ("a: [", "(line 1, column 5)"),
        ("http_port: !!python/object:os.system {}", "not valid YAML"),
        ("[" * 100000, "not valid YAML"),
    ],
    ids=lambda text: text[:40],
)
def test_fault_75_what_a_file_holds_wrongly_is_one_clear_line(
    text: str, line: str, tmp_path: Path
) -> None:
    words = _refused(tmp_path, text)
    assert line in words
    assert words.count("\n") == 0


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("http_port", True, "expected a number, got a boolean"),
        ("http_port", "70000", "less than or equal to 65535, got '70000'"),
        ("http_port", "-1", "greater than or equal to 0, got '-1'"),
        ("http_port", "eighty", "valid integer"),
        ("limits.max_message_bytes", "0", "greater than or equal to 1"),
        ("limits.head_timeout_s", "nan", "finite number"),
        ("limits.head_timeout_s", "0", "greater than 0"),
        ("log.level", "loud", "'debug', 'info', 'warning' or 'error', got 'loud'"),
        ("grpc.compression", "br", "'auto', 'none', 'gzip' or 'deflate'"),
        ("model_control", "magic", "input should be 'poll', 'explicit' or 'both', got 'magic'"),
        ("name", "", "at least 1 character"),
        ("batching.enabled", "perhaps", "boolean"),
        (
            "registry.mlflow.write_back.tags",
            ",".join(f"{key}=1" for key in range(101)),
            "101 tags: at most 100 are written",
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_its_key_and_origin(
    key: str, value: object, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({key: value}, None, {})
    text = str(caught.value)
    assert text.startswith(f"{key} (from the command line): ")
    assert words in text
    assert "\n" not in text


def test_several_wrong_values_are_a_line_each() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"http_port": "x", "limits.max_streams": "0"}, None, {})
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == [
        "http_port",
        "limits.max_streams",
    ]


def test_an_unknown_flag_names_the_nearest_key() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'limits\.max_streams'\?"):
        load_settings({"limits.max_stream": 1}, None, {})


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_settings({}, tmp_path / "none.yaml", {})


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert (
        load_settings({}, _written(tmp_path, "# nothing\nlimits:\n"), {})[0]
        == (load_settings({}, None, {})[0])
    )


def test_what_kubernetes_injects_is_ignored_and_said() -> None:
    environ = {
        "SERVING_HTTP_PORT": "tcp://10.0.0.1:80",
        "SERVING_PORT": "tcp://10.0.0.1:80",
        "SERVING_HTTP_PORT_80_TCP": "tcp://10.0.0.1:80",
        "SERVING_SERVICE_HOST": "10.0.0.1",
        "SERVING_CONFIG": "",
        "OTHER": "x",
    }
    settings, origins = load_settings({}, None, environ)
    assert settings.http_port == 8080
    assert origins["http_port"] == "default"
    notes = ignored_environment(environ)
    assert [note.name for note in notes] == [
        "SERVING_HTTP_PORT",
        "SERVING_HTTP_PORT_80_TCP",
        "SERVING_PORT",
        "SERVING_SERVICE_HOST",
    ]


def test_an_unknown_variable_is_said_with_the_nearest() -> None:
    (note,) = ignored_environment({"SERVING_LIMIT__MAX_STREAMS": "3"})
    assert "did you mean 'SERVING_LIMITS__MAX_STREAMS'?" in str(note)


def test_a_secret_is_never_shown() -> None:
    settings, origins = load_settings({"tracking.mlflow.token": "hush"}, None, {})
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings.flat())
    assert "hush" not in str(settings_json(settings, origins))
    assert settings.tracking.mlflow.token.get_secret_value() == "hush"


def test_the_state_directory_follows_xdg_and_is_not_made(tmp_path: Path) -> None:
    assert default_state_dir({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "serving"
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": "relative"}
    assert default_state_dir(home) == tmp_path / ".local/state/serving"
    assert default_state_dir({}) is None
    load_settings({}, None, {"HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_zero_is_decided_by_the_machine() -> None:
    settings = Settings()
    assert settings.intra_op_threads == settings.permits == machine.usable_threads()
    assert settings.io_threads >= 1
    assert settings.loads == min(4, machine.usable_threads())
    assert settings.process_bytes == machine.usable_memory() // 4


def test_every_setting_is_documented_with_its_default() -> None:
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:4]]
        for line in DOCS.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    }
    values = Settings(state_dir=None).flat()
    assert set(rows) == {f"`{key}`" for key in values}
    for key, description in describe():
        default, meaning = rows[f"`{key}`"]
        assert meaning == description
        if key != "state_dir":
            assert default == _in_docs(values[key])


def _in_docs(value: object) -> str:
    if value in (None, (), "", SecretStr("")):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
