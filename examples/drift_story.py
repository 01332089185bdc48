"""What `examples/drift.py` runs and says: commands as a user types them, and what was started."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import local_services as local
from local_services import StoryError

EXAMPLES = Path(__file__).resolve().parent
VERSION_PATH = "/api/v1/models/payments/versions/1"


class Story:
    """What was started, and where; commands run in ``folder``. ``began``: seconds since the
    epoch."""

    def __init__(self, folder: Path, window_s: float) -> None:
        self.folder, self.window_s, self.began = folder, window_s, time.time()
        self.services: list[local.Service] = []
        self.mlflow = self.prometheus = ""
        self.addresses: dict[str, str] = {}

    @property
    def admin(self) -> str:
        return f"http://{self.addresses['admin']}"

    @property
    def patience_s(self) -> float:
        """For what a window or two should show."""
        return 60 + 10 * self.window_s

    def run(self, *command: str) -> None:
        """One that a user would type; raises StoryError where it fails."""
        print(f"   $ {shlex.join(self.shown(command))}", flush=True)
        done = subprocess.run(
            self.real(command),
            cwd=self.folder,
            env=local.environment(SERVING_ADMIN_URL=self.admin if self.addresses else ""),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.strip().splitlines():
            print(f"   {line}", flush=True)
        if done.returncode:
            raise StoryError(done.stderr.strip() or f"{command[0]} failed")

    def send(self, *options: str) -> subprocess.Popen[str]:
        """Payments, in the background."""
        command = ("send_payments.py", "--url", self.addresses["grpc"], *options)
        print(f"   $ {shlex.join(self.shown(command))}", flush=True)
        return subprocess.Popen(
            self.real(command),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @staticmethod
    def shown(command: tuple[str, ...]) -> list[str]:
        script = command[0].endswith(".py")
        return ["python", f"examples/{command[0]}", *command[1:]] if script else [*command]

    @staticmethod
    def real(command: tuple[str, ...]) -> list[str]:
        if command[0].endswith(".py"):
            return [sys.executable, str(EXAMPLES / command[0]), *command[1:]]
        return [sys.executable, "-m", *command]

    def anomalies(self) -> list[dict[str, Any]]:
        """Those that last."""
        told = local.ask(f"{self.admin}{VERSION_PATH}/anomalies")
        return list(told["anomalies"])


def say(words: str) -> None:
    print(f"   {words}", flush=True)


def chapter(title: str) -> None:
    print(f"\n== {title}", flush=True)


def addresses(story: Story) -> dict[str, str]:
    found = {
        "console": f"{story.admin}/#/models/payments",
        "gateway, gRPC": story.addresses["grpc"],
        "metrics": f"{story.admin}/metrics",
        "prometheus": story.prometheus,
        "mlflow": story.mlflow,
    }
    return {name: url for name, url in found.items() if url}


def tell(anomalies: list[dict[str, Any]]) -> None:
    for one in sorted(anomalies, key=lambda one: (one["feature"], one["type"])):
        say(f"  {one['feature']}: {one['type']}. {one['description']}")
