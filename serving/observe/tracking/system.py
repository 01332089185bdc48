"""The machine's own figures, under the names that MLflow gives them.

Read from ``/proc``; where that is missing, so are they. GPUs are asked by ``nvidia-smi``, where
it and a device are there.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

_MB = 1e6
_MIB = 1024 * 1024
_FIELDS = "index,utilization.gpu,memory.used,memory.total,power.draw"
_TIMEOUT_S = 5.0


class SystemFigures:
    """``read`` tells what was since the last ``read``. For one thread."""

    def __init__(
        self, proc: Path = Path("/proc"), ask_gpus: Callable[[], str] | None = None
    ) -> None:
        self._proc = proc
        self._ask_gpus = ask_gpus if ask_gpus is not None else _gpu_asker()
        self._before = self._cpu_times()

    def read(self) -> dict[str, float]:
        found = {**self._cpu(), **self._memory(), **self._network()}
        if self._ask_gpus is not None:
            found.update(gpu_figures(self._ask_gpus()))
        return found

    def _cpu(self) -> dict[str, float]:
        before, now = self._before, self._cpu_times()
        self._before = now
        if before is None or now is None or now[1] <= before[1]:
            return {}
        busy = (now[0] - before[0]) / (now[1] - before[1])
        return {"system/cpu_utilization_percentage": 100.0 * min(1.0, max(0.0, busy))}

    def _cpu_times(self) -> tuple[int, int] | None:
        """(busy, all) ticks of all processors."""
        text = self._text("stat")
        fields = text.partition("\n")[0].split()
        if len(fields) < 6 or fields[0] != "cpu":
            return None
        # What guests take is in user time already.
        ticks = [int(field) for field in fields[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def _memory(self) -> dict[str, float]:
        found = {}
        for line in self._text("meminfo").splitlines():
            name, _, rest = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(rest.split()[0]) * 1024
        if len(found) < 2 or not found["MemTotal"]:
            return {}
        used = found["MemTotal"] - found["MemAvailable"]
        return {
            "system/system_memory_usage_megabytes": used / _MB,
            "system/system_memory_usage_percentage": 100.0 * used / found["MemTotal"],
        }

    def _network(self) -> dict[str, float]:
        """Since the machine began."""
        received = sent = 0
        lines = [line for line in self._text("net/dev").splitlines() if ":" in line]
        for line in lines:
            name, _, rest = line.partition(":")
            if name.strip() != "lo":
                fields = rest.split()
                received, sent = received + int(fields[0]), sent + int(fields[8])
        if not lines:
            return {}
        return {
            "system/network_receive_megabytes": received / _MB,
            "system/network_transmit_megabytes": sent / _MB,
        }

    def _text(self, name: str) -> str:
        try:
            return (self._proc / name).read_text(
                encoding="ascii", errors="replace"
            )  # file: the kernel's
        except OSError:
            return ""


def gpu_figures(answer: str) -> dict[str, float]:
    """Of ``nvidia-smi``'s lines: index, %, MiB, MiB, watts; what it does not know is left out."""
    found: dict[str, float] = {}
    for line in answer.splitlines():
        index, *fields = (field.strip() for field in line.split(","))
        if len(fields) == 4 and index.isdecimal():
            found.update(_one_gpu(f"system/gpu_{index}", [_number(field) for field in fields]))
    return found


def _one_gpu(prefix: str, read: list[float | None]) -> dict[str, float]:
    busy, used, total, watts = read
    figures: dict[str, float | None] = {
        "utilization_percentage": busy,
        "memory_usage_megabytes": used * _MIB / _MB if used is not None else None,
        "memory_usage_percentage": 100 * used / total if used is not None and total else None,
        "power_usage_watts": watts,
    }
    return {f"{prefix}_{name}": value for name, value in figures.items() if value is not None}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _gpu_asker() -> Callable[[], str] | None:
    command = shutil.which("nvidia-smi")
    if command is None or not Path("/dev/nvidiactl").exists():
        return None

    def ask() -> str:
        try:
            done = subprocess.run(
                [command, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout if done.returncode == 0 else ""

    return ask
