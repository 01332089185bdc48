"""The image's scripts, run as a user without rights on a file system that is read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.clients.gateway import ROOT
from tests.package import wheels
from tests.package.test_package import classify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CONTAINER_USER = "10001"
# A mount namespace whose whole tree is read-only, and in it a user that is nobody.
READ_ONLY = 'mount -o remount,bind,ro / && exec unshare --user --map-user={user} -- "$@"'


def namespace() -> list[str]:
    """The command that stands before another to put it in such a place."""
    script = READ_ONLY.format(user=CONTAINER_USER)
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]


def read_only_works() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    probe = subprocess.run([*namespace(), "true"], capture_output=True, check=False)
    return probe.returncode == 0


def environment(installed: Path) -> dict[str, str]:
    """As the image has it: its own PATH first, and no home directory."""
    return {
        "PATH": f"{installed / 'bin'}:{os.environ['PATH']}",
        "HOME": "/nonexistent",
        "SERVING_HOST": "127.0.0.1",
    }


def test_the_image_serves_as_nobody_on_a_read_only_file_system(
    installed: Path, tmp_path: Path
) -> None:
    if not read_only_works():
        pytest.skip("this machine grants no user and mount namespaces")
    models = wheels.settled_copy(ROOT / "model_repo", tmp_path / "models")
    with wheels.serving(
        [*namespace(), wheels.DOCKER / "start.sh", models], tmp_path, environment(installed)
    ) as ports:
        assert classify(ports["http"]) == 0
        health = wheels.run(
            [wheels.DOCKER / "health.sh"],
            **environment(installed),
            SERVING_HTTP_PORT=str(ports["http"]),
        )
        assert health == ""


def test_the_image_s_user_has_no_rights(tmp_path: Path) -> None:
    """The witness of the test above: that place is what it claims to be."""
    if not read_only_works():
        pytest.skip("this machine grants no user and mount namespaces")
    said = wheels.run([*namespace(), "sh", "-c", f"id -u; touch {tmp_path}/x || echo refused"])
    assert said.split()[0] == CONTAINER_USER
    assert said.split()[-1] == "refused"


def test_the_health_check_fails_without_a_gateway(installed: Path) -> None:
    done = subprocess.run(
        [wheels.DOCKER / "health.sh"],
        env={**os.environ, **environment(installed), "SERVING_HTTP_PORT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("not live")


def test_the_admin_port_stays_on_the_loopback_interface(installed: Path, tmp_path: Path) -> None:
    """In the image the data doors open to other machines; control does not."""
    everywhere = environment(installed) | {"SERVING_HOST": "0.0.0.0"}
    models = wheels.settled_copy(ROOT / "model_repo", tmp_path / "models")
    with wheels.serving([wheels.DOCKER / "start.sh", models], tmp_path, everywhere) as ports:
        with urllib.request.urlopen(f"http://127.0.0.2:{ports['http']}/v2/health/live") as answer:
            assert answer.status == 200
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"http://127.0.0.2:{ports['admin']}/metrics")


def test_the_dockerfile_runs_these_scripts_as_the_same_user() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for script in ("build.sh", "install.sh", "start.sh", "health.sh"):
        assert f"docker/{script}" in text
    assert f"USER {CONTAINER_USER}" in text
    assert text.index("USER ") < text.index("ENTRYPOINT")
    assert "en_US.UTF-8" in text
