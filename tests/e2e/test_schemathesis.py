"""Schemathesis over our own OpenAPI documents: whatever it thinks of, no 5xx that says of us that
we failed, and no answer that the document does not describe."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import small_models
from tests.clients import environments, schemathesis_environment

# The first time it is installed.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# For each part.
SECONDS = 60
# That a body fits its schema is not all: data must have as many elements as its shape says, which a
# schema can't say, so what fits may be refused, and what doesn't may be well.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# Paths, checks, and how many requests are next to nothing. TensorFlow Serving has its own statuses
# below /v1: 400 for a wrong method, and 501 for what has no form in JSON there.
PARTS = {
    "v1": ("^/v1/", CHECKS, 300),
    "all else": ("^/(?!v1/)", (*CHECKS, "unsupported_method"), 600),
    # The stream of events ends when it is told to, and what comes of that has tests of its own.
    "admin port": ("^/(?!api/v1/events/)", (*CHECKS, "unsupported_method"), 300),
}


@pytest.mark.parametrize("part", PARTS)
def test_nothing_fails_and_all_answers_are_as_described(
    start_gateway, tmp_path: Path, part: str
) -> None:
    paths, checks, fewest = PARTS[part]
    repository = tmp_path / "repository"
    repository.mkdir()
    for name, made in {
        "tiny": small_models.tiny(),
        "texts": small_models.identity("BYTES"),
        "half": small_models.identity("FP16"),
        "two": small_models.add_sub(),
        "optional": small_models.optional_input(),
        "no inputs": small_models.constant(),
    }.items():
        if (part, name) != ("v1", "half"):
            small_models.write(repository, name, made)
    gateway = start_gateway(repository)
    command = [
        *(str(schemathesis_environment.command()), "run"),
        f"http://{gateway.http}/openapi.json"
        if part != "admin port"
        else f"http://127.0.0.1:{gateway.admin_port}/api/openapi.json",
        *("--include-path-regex", paths, "--checks", ",".join(checks)),
        *("--max-time", str(SECONDS), "--max-examples", "60"),
        *("--request-timeout", "20", "--seed", "1", "--no-color", "--suppress-health-check", "all"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environments.variables(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-4000:]
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None, done.stdout[-4000:]
    assert int(found.group(1)) > fewest, "it has tried next to nothing"
    gateway.assert_clean_log()
