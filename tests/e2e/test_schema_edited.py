"""A model's schema, edited by hand while the model serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests import small_models
from tests.clients import forked
from tests.clients.gateway import Gateway, wait_until
from tests.e2e.test_request_log import wait_for
from tests.e2e.test_schema_enforcement import REJECT, lay, refused

if TYPE_CHECKING:
    from tests.conftest import StartGateway

SEVEN = np.array([[0, 7, 0, 0]], np.float32)
ELEVEN = np.array([[0, 11, 0, 0]], np.float32)


def at_most(bound: int) -> str:
    return f'feature {{ name: "x[1]" type: FLOAT float_domain {{ max: {bound} }} }}\n'


def notes(gateway: Gateway, model: str) -> list[str]:
    answer = gateway.get(f"/api/v1/models/{model}", port=gateway.admin_port).json()
    (version,) = answer["versions"]
    return list(version["notes"])


def events(gateway: Gateway, name: str, model: str) -> list[dict[str, Any]]:
    return [one for one in gateway.events(name) if one["model"] == model]


def test_fault_113_an_edited_schema_holds_without_a_load_and_a_broken_one_changes_nothing(
    tmp_path: Path, start_gateway: StartGateway
) -> None:
    schema = lay(tmp_path / "r", "tiny", small_models.tiny(), at_most(5), REJECT) / "schema.pbtxt"
    # Its files lie in the model's own folder.
    flat = tmp_path / "r" / "tiny_flat"
    flat.mkdir()
    (flat / "model.onnx").write_bytes(small_models.tiny().SerializeToString())
    (flat / "model.yaml").write_text(REJECT)
    (flat / "schema.pbtxt").write_text(at_most(5))
    given = {"loading.trial": "off", "statistics.samples_per_second": "0"}
    gateway = start_gateway(tmp_path / "r", given)
    assert "at most 5, got 7" in refused(gateway, "tiny", SEVEN)
    assert "at most 5, got 7" in refused(gateway, "tiny_flat", SEVEN)

    for path in (schema, flat / "schema.pbtxt"):
        path.write_text(at_most(10))
        model = path.parent.name
        wait_until(lambda model=model: not refused(gateway, model, SEVEN), 20, "it holds")
    assert "at most 10, got 11" in refused(gateway, "tiny", ELEVEN)
    assert [one["features"] for one in events(gateway, "request_schema_changed", "tiny")] == [1]

    schema.write_text("feature { name: ")
    words = "what it said before holds: schema.pbtxt: "
    wait_until(lambda: any(words in one for one in notes(gateway, "tiny")), 20, "it is told")
    assert "at most 10, got 11" in refused(gateway, "tiny", ELEVEN)
    assert len(events(gateway, "request_schema_unusable", "tiny")) == 1

    schema.write_text(at_most(6))
    wait_until(lambda: "at most 6" in refused(gateway, "tiny", SEVEN), 20, "it holds again")
    assert notes(gateway, "tiny") == []
    told = gateway.get(
        "/api/v1/models/tiny/versions/1/requests/anomalies", port=gateway.admin_port
    ).json()
    (one,) = told["anomalies"]
    assert one["requests"] >= 4
    assert (one["feature"], one["type"], one["mode"]) == ("x[1]", "too_large", "reject")
    shown = forked.run("stats", "live", "tiny/1", "--window", "live", "--admin-url", gateway.admin)
    assert "x[1]     too_large  reject" in shown.stdout, shown
    schema.unlink()
    wait_until(lambda: not refused(gateway, "tiny", ELEVEN), 20, "nothing is asked any more")
    assert "there is no schema.pbtxt" in notes(gateway, "tiny")[0]
    # Counted all along, by the slot that was loaded first.
    for model in ("tiny", "tiny_flat"):
        labels = {"model": model, "version": "1"}
        assert gateway.metric("serving_request_anomalies_total", **labels, mode="reject") >= 1
        assert len([e for e in gateway.events("version_state") if e.get("model") == model]) <= 4
        assert "changed" not in json.dumps(notes(gateway, model))


def test_what_is_only_logged_goes_into_the_request_log_without_what_is_redacted(
    tmp_path: Path, start_gateway: StartGateway
) -> None:
    log = "validation: {mode: log}\n"
    lay(tmp_path / "r", "tiny", small_models.tiny(), at_most(5), log)
    lay(
        tmp_path / "r",
        "tiny_shy",
        small_models.tiny(),
        at_most(5),
        f"{log}request_log: {{redact: [x]}}\n",
    )
    lay(
        tmp_path / "r",
        "tiny_out",
        small_models.tiny(),
        at_most(5),
        f"{log}request_log: {{rate: 0}}\n",
    )
    folder = tmp_path / "log"
    given = {"request_log.path": str(folder), "request_log.rate": "1e-9", "loading.trial": "off"}
    gateway = start_gateway(tmp_path / "r", given)
    for model in ("tiny", "tiny_shy", "tiny_out"):
        for _ in range(5):
            assert refused(gateway, model, SEVEN) == ""
    found = {one.model: one for one in wait_for(folder, 2)}
    assert found.keys() == {"tiny", "tiny_shy"}
    words = "feature 'x[1]' of input 'x': expected at most 5, got 7 (row 0)"
    assert (found["tiny"].anomaly, found["tiny"].status) == (words, "OK")
    assert found["tiny"].inputs[0].data == SEVEN.tobytes()
    assert found["tiny_shy"].anomaly == "feature 'x[1]' of input 'x': too_large"
    assert found["tiny_shy"].inputs[0].data is None
