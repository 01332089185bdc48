"""Headers for collectors: read strictly, sent with each request, written nowhere."""

from __future__ import annotations

import pytest

from serving.errors import ConfigError
from serving.observe.otlp_headers import headers_of
from serving.observe.tracing.setup import open_target
from serving.settings import load_settings
from serving.settings.shown import settings_json
from tests.clients.collector import GrpcCollector, HttpCollector

TEXT = "Api-Key=hush%20hush, x-scope=a"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        (" , ", {}),
        ("a=b", {"a": "b"}),
        (TEXT, {"api-key": "hush hush", "x-scope": "a"}),
        ("authorization=Basic%20dTpw=", {"authorization": "Basic dTpw="}),
    ],
)
def test_pairs_are_read_as_opentelemetry_writes_them(text: str, found: dict[str, str]) -> None:
    assert headers_of(text, "s") == found


@pytest.mark.parametrize(
    "text",
    [
        "hush",
        "=hush",
        "a b=hush",
        "a=",
        "a=hush%0d%0ax:y",
        "a=hush%C3%A9",
        "content-type=hush",
        "grpc-timeout=hush",
        "key-bin=hush",
    ],
)
def test_what_no_request_can_carry_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^tracing\.headers: ") as refused:
        headers_of(text, "tracing.headers")
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("kind", [HttpCollector, GrpcCollector])
def test_a_changed_setting_changes_what_a_collector_gets(
    kind: type[GrpcCollector | HttpCollector],
) -> None:
    collector = kind()
    try:
        given = {
            "tracing.endpoint": collector.endpoint,
            "tracing.protocol": "grpc" if kind is GrpcCollector else "http",
        }
        for chosen, expected in (({}, None), ({"tracing.headers": TEXT}, "hush hush")):
            target = open_target(load_settings({**given, **chosen}, environ={})[0])
            assert target is not None
            target.sender.send(b"", 5)
            target.sender.close()
            assert collector.headers.get("api-key") == expected
    finally:
        collector.close()


def test_mlflow_has_its_token_instead() -> None:
    given = {
        "tracing.endpoint": "mlflow",
        "tracking.mlflow.uri": "http://m",
        "tracing.headers": TEXT,
    }
    with pytest.raises(ConfigError, match=r"tracking\.mlflow\.token"):
        open_target(load_settings(given, environ={})[0])


@pytest.mark.parametrize("key", ["tracing.headers", "tracking.otlp.headers"])
def test_values_are_kept_out_of_what_is_written(key: str) -> None:
    settings, origins = load_settings({key: TEXT}, environ={})
    assert {"hush%20hush", "hush hush"} < set(settings.secrets())
    assert "a" not in settings.secrets()
    assert "hush" not in str(settings_json(settings, origins)) + repr(settings)
