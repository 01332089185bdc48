"""The ports that a gateway listens on: which are taken, and by whom."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.settings import Settings

_PROC = Path("/proc")
# A listening socket's state in the system's table.
_LISTENS = "0A"
# Long command lines are cut.
_SHOWN = 100
_TIMEOUT_S = 1.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a door listens, and the setting that says so."""

    door: str
    host: str
    port: int
    setting: str

    @property
    def flag(self) -> str:
        return "--" + self.setting.replace("_", "-")


def places(settings: Settings) -> tuple[Place, ...]:
    return (
        Place("HTTP", settings.host, settings.http_port, "http_port"),
        Place("gRPC", settings.host, settings.grpc_port, "grpc_port"),
        Place("admin", settings.admin_host, settings.admin_port, "admin_port"),
    )


def advice(settings: Settings) -> Iterator[str]:
    """A line for each port that can't be listened on: why, and how to take another."""
    from serving.control.admin import AddressError, listen

    found = places(settings)
    running = {place: running_gateway(place) for place in found}
    for one, other in itertools.combinations(found, 2):
        if one.port and (one.host, one.port) == (other.host, other.port):
            yield f"{one.door} and {other.door} are both to have port {one.port}"
    for place in found:
        try:
            listen(place.host, place.port, place.door).close()
        except AddressError as error:
            if not _is_here(place.host):
                flag = "--admin-host" if place.door == "admin" else "--host"
                yield f"{flag} ADDRESS chooses one of this machine's ('{place.host}' is none)"
                return
            who = running[place] or holder(place.port)
            why = f"port {place.port} is held by {who}" if who else str(error)
            how = f"{place.flag} PORT (setting {place.setting}) chooses another for {place.door}"
            yield f"{why}; {how}"


def _is_here(host: str) -> bool:
    """Whether it can be listened on at all, on any port."""
    from serving.control.admin import AddressError, listen

    try:
        listen(host, 0, "").close()
    except AddressError:
        return False
    return True


def running_gateway(place: Place) -> str:
    """Name, version and process of the gateway whose HTTP or admin port this is; "" where it is
    none of these."""
    name = _asked(place)
    if not name:
        return ""
    process = holder(place.port)
    return f"a running gateway, {name}{f': {process}' if process else ''}"


def _asked(place: Place) -> str:
    """What the one that listens there says of itself."""
    if place.port == 0 or place.door == "gRPC":
        return ""
    if place.door == "admin":
        return "its admin port" if _json(place, "/v2/health/live").get("live") is True else ""
    found = _json(place, "/v2")
    if not isinstance(found.get("extensions"), list):
        return ""
    return f"'{found.get('name')}' {found.get('version')}"


def _json(place: Place, path: str) -> dict[str, object]:
    from serving.cli.exchange import request
    from serving.cli.output import UserError

    host = _ANY.get(place.host, place.host)
    host = f"[{host}]" if ":" in host else host
    try:
        _, _, body = request("GET", f"http://{host}:{place.port}{path}", timeout=_TIMEOUT_S)
        answer = json.loads(body)
    except (UserError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def holder(port: int) -> str:
    """The process that listens on a TCP port, in words; "" where that can't be seen: it is
    another user's, or the system has no ``/proc``."""
    inodes = {f"socket:[{inode}]" for inode in _listening(port)}
    if not inodes:
        return ""
    for process in _processes():
        with suppress(OSError):  # it ended, or is another user's
            if any(str(one.readlink()) in inodes for one in (process / "fd").iterdir()):
                return process_words(process)
    return ""


def process_words(process: Path) -> str:
    """``process``: its folder in /proc. Raises OSError where it has ended."""
    return f"process {process.name} ({_command(process)})"


def _listening(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            text = (_PROC / "net" / table).read_text("ascii")  # file: the kernel's
            for line in text.splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _processes() -> Iterator[Path]:
    with suppress(OSError):
        yield from (one for one in _PROC.iterdir() if one.name.isdecimal())


def _command(process: Path) -> str:
    command = (process / "cmdline").read_bytes()  # file: the kernel's
    words = command.decode("utf-8", "replace").split("\0")
    text = " ".join(word for word in words if word)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def url(address: tuple[str, int], scheme: str = "http") -> str:
    """Where a client on this machine reaches the address."""
    host, port = address
    host = _ANY.get(host, host)
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port}" if scheme else f"{host}:{port}"


def reached_at(address: tuple[str, int], scheme: str = "http") -> list[str]:
    """The same for clients on other machines, where it listens on every address; the machine's
    first address of a kind, by which it reaches others."""
    host, port = address
    if host not in _ANY:
        return []
    kinds = [(socket.AF_INET, "192.0.2.1")]
    if host == "::":
        kinds.append((socket.AF_INET6, "2001:db8::1"))
    own = (_own_address(family, far) for family, far in kinds)
    return [url((one, port), scheme) for one in own if one]


def _own_address(family: socket.AddressFamily, far: str) -> str:
    """By the route that packets to ``far``, an address of nobody, would take; none is sent."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((far, 9))
        return str(probe.getsockname()[0])
    return ""
