"""The README's tour, block by block as pasted: against one gateway, in the environment that is
there. Ports are those of this gateway; what `make`, `pip` and `docker` do is left out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from typing import NamedTuple

import pytest

from tests.clients.gateway import ROOT, Gateway

README = (ROOT / "README.md").read_text()
_PIP = re.compile(r"\.venv/bin/pip install --quiet (.*)")


class Block(NamedTuple):
    language: str
    text: str


def _blocks() -> Iterator[Block]:
    """Fenced and indented ones, in their order."""
    pattern = r"(?ms)^```(\w*)\n(.*?)^```$|((?:^    \S[^\n]*\n)+)"
    for found in re.finditer(pattern, README):
        indented = found[3] or ""
        yield Block(found[1] or "sh", found[2] or re.sub(r"(?m)^    ", "", indented))


def _is_run(block: Block) -> bool:
    return not block.text.startswith(("make ", "docker "))


BLOCKS = [block for block in _blocks() if _is_run(block)]
EXPECTED = {
    "infer -d": '"data":[0]',
    "infer digits --generate": "digits 2",
    "predict_digits": "accuracy",
    "serving_client": "[4]",
    "tritonclient.grpc": "[",
    "publish": "published mine 1",
    "models history": "pinned",
    "rollout history": "first users of 2",
    "metrics": "serving_request_total{",
}


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in a folder that looks as the repository's does."""
    place = tmp_path_factory.mktemp("tour")
    shutil.copytree(ROOT / "model_repo", place / "model_repo", ignore=lambda *_: ["mine"])
    (place / "examples").symlink_to(ROOT / "examples")
    (place / ".venv").symlink_to(sys.prefix)
    one = Gateway(place / "model_repo", place / "gateway", cwd=place)
    try:
        yield one.wait_ready()
    finally:
        one.finish()


def _here(text: str, gateway: Gateway) -> str:
    for pasted, port in (
        ("8080", gateway.http_port),
        ("8081", gateway.grpc_port),
        ("8082", gateway.admin_port),
    ):
        text = text.replace(f"localhost:{pasted}", f"localhost:{port}")
    example = "examples/predict_digits.py"
    return text.replace(example, f"{example} --http {gateway.http} --grpc {gateway.grpc}")


def _without_pip(text: str) -> str:
    """What pip would install is there already: the tour names what it needs."""
    for packages in _PIP.findall(text):
        for package in packages.replace("'", "").split():
            assert distribution(package.partition("[")[0])
    return _PIP.sub("", text)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_readmes_tour_works_as_pasted(tour: Gateway, number: int) -> None:
    block = BLOCKS[number]
    text = _here(_without_pip(block.text), tour)
    program = {
        "sh": ["bash", "-e", "-o", "pipefail", "-c", text],
        "python": [sys.executable, "-c", text],
    }[block.language]
    done = subprocess.run(
        program,
        cwd=tour.cwd,
        env={
            **os.environ,
            "HOME": str(tour.home),
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            "SERVING_URL": f"http://localhost:{tour.http_port}",
            "SERVING_ADMIN_URL": f"http://localhost:{tour.admin_port}",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    for part, words in EXPECTED.items():
        if part in block.text:
            assert words in done.stdout, f"{text}\n{done.stdout}{done.stderr}"


def test_the_tour_is_where_it_was() -> None:
    assert len(BLOCKS) == 12
    assert all(any(part in block.text for block in BLOCKS) for part in EXPECTED)


@pytest.mark.parametrize(
    ("said", "measured"),
    [
        ("57,946 gRPC requests a second", "57,946 (49,181-66,553)"),
        ("31 times a `grpc.aio` server", "| 31.5 |"),
        ("half its latency", "| 0.501 |"),
        ("25 times FastAPI", "rate / FastAPI | 25 |"),
        ("1.13 times the p99", "beside a load of another model / alone | 1.13 |"),
        ("100,135 requests, none failed", "100,135 requests, none failed"),
        ("56 kills in 100,107 requests, none failed", "56\nkills, 100,107 requests, none failed"),
        ("97 % of its peak", "answers in time / peak | 0.969 |"),
        ("5.6 ms (p99)", "p99 of a refusal | 5.6 ms |"),
        ("1.03 times the CPU", "all watching / none | 1.03 |"),
    ],
)
def test_the_readmes_figures_are_those_that_were_measured(said: str, measured: str) -> None:
    assert said in README
    assert measured in (ROOT / "benchmarks" / "README.md").read_text()


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README):
        assert (ROOT / target).exists(), target
