"""The client's wheel, where only what it asks for is installed: in its oldest protobuf, and without
anything of the server's."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.clients import environments
from tests.clients.gateway import ROOT, Gateway
from tests.package import wheels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NEEDS = ("numpy", "grpcio", "urllib3")
OLDEST = "protobuf==5.29.6"

PROGRAM = """
import importlib.util, sys
import numpy as np
from serving_client import AsyncClient, Client

assert importlib.util.find_spec("serving") is None
assert importlib.util.find_spec("ml_dtypes") is None
for address in sys.argv[1:]:
    with Client(address) as client:
        x = np.ones((2, 4), np.float32)
        print(client.infer("tiny", x=x)["y"].shape, client.metadata("tiny").inputs[0].datatype)
        print(client.infer("id_bf16", X=[[1.5]])["Y"].dtype, end=" ")
        print(client.infer("id_bytes", X=[["a"]])["Y"])
try:
    AsyncClient(sys.argv[2])
except ImportError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    wheels.run([*pip, "--wheel-dir", folder, ROOT / "client"])
    (found,) = folder.glob("serving_client-*.whl")
    return found


def test_the_wheel_is_pure_typed_and_asks_for_little(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        said = Parser().parsestr(archive.read(metadata).decode())
    assert {"serving_client/py.typed", "serving_client/inference.binpb"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    asked = [Requirement(one) for one in said.get_all("Requires-Dist", [])]
    assert {one.name for one in asked if one.marker is None} == {*NEEDS, "protobuf"}
    assert f">={OLDEST.partition('==')[2]}" in {str(one.specifier) for one in asked}


def test_it_works_with_what_it_asks_for_and_nothing_else(
    wheel: Path, gateway: Gateway, tmp_path: Path
) -> None:
    python = environments.interpreter(OLDEST, 300, NEEDS)
    place = tmp_path / "installed"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", place]
    wheels.run([python, *install, wheel])
    done = subprocess.run(
        [python, "-W", "error", "-c", PROGRAM, gateway.grpc, f"http://{gateway.http}"],
        cwd=tmp_path,
        env={**wheels.clean_environment(), "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one = ["(2, 3) FP32", "float32 [['a']]"]
    assert done.stdout.splitlines()[:4] == [*one, *one]
    assert "install 'serving-client[aiohttp]'" in done.stdout
