"""What ``serving start`` tells whoever started it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.authorization import is_loopback
from serving.cli.bursts import FEW, Bursts
from serving.cli.console import Console
from serving.cli.news import News, Progress, Views, answering, failed, few, left_out
from serving.cli.ports import reached_at, url
from serving.cli.samples import try_line

if TYPE_CHECKING:
    from serving.app import Drained, Gateway
    from serving.models.views import Changes
    from serving.settings import Settings

_FULL_SPEED = (
    "`make build`, and then `.venv/bin/pip install --force-reinstall --no-deps dist/serving-*.whl`"
)
# Entries of a directory that are named.
_MOST = 20
# Models that one line of JSON names: collectors cut long lines.
_MOST_IN_JSON = 200


def print_addresses(console: Console, gateway: Gateway) -> None:
    from serving import _core

    if _core.DEVELOPMENT_BUILD:
        console.line(f"development build; for full speed {_FULL_SPEED}", "yellow")
    doors = {"HTTP": gateway.http_address, "gRPC": gateway.grpc_address}
    for door, address in doors.items():
        scheme = "http" if door == "HTTP" else ""
        others = reached_at(address, scheme)
        more = f"  (on every address of this machine: {', '.join(others)})" if others else ""
        console.line(f"{door}   {url(address, scheme)}{more}")
    console.line(f"admin  {url(gateway.admin_address)}  ({_control_words(gateway.settings)})")
    console.line(f"pid    {os.getpid()}")
    console.fact(
        "listening",
        build="development" if _core.DEVELOPMENT_BUILD else "release",
        http=url(gateway.http_address),
        grpc=url(gateway.grpc_address, ""),
        admin=url(gateway.admin_address),
        also=[one for address in doors.values() for one in reached_at(address)],
        pid=os.getpid(),
    )


def _control_words(settings: Settings) -> str:
    """What the admin port is for, and whether everyone may."""
    if settings.admin_token_file is not None:
        return f"/metrics; /api/v1/models with the token in {settings.admin_token_file}"
    if not is_loopback(settings.admin_host):
        return "/metrics; /api/v1/models is refused: no token is configured (--admin-token-file)"
    return "/metrics, /api/v1/models"


class Telling:
    """Tells on the console what becomes of the models, at start and later."""

    def __init__(self, console: Console, gateway: Gateway) -> None:
        self._console, self._gateway = console, gateway
        self._lock = threading.Lock()
        self._news, self._bursts, self._starting = News(), Bursts(), True
        self._timer: threading.Timer | None = None
        self._progress = Progress(time.monotonic())
        self._stopping = False

    def changes(self, changed: Changes) -> None:
        if self._stopping or not self._console.as_text:
            return
        now = time.monotonic()
        with self._lock:
            lines = self._news.lines(changed)
            many = self._starting and self._news.versions > FEW
            for line in self._bursts.take(lines, now, starting=many):
                self._console.line(line.text, line.style)
            if self._timer is None and (due := self._bursts.due) is not None:
                timer = threading.Timer(due - now, self._rest)
                timer.daemon = True
                timer.start()
                self._timer = timer

    def _rest(self) -> None:
        """What was too much to be said one by one."""
        with self._lock:
            self._timer = None
            words = self._bursts.rest(time.monotonic())
            if words and not self._stopping:
                self._console.line(words)

    def progress(self) -> None:
        """To be called time and again while what is wanted at the start is loaded."""
        now = time.monotonic()
        if not self._progress.is_due(now):
            return
        if standing := self._progress.standing(self._gateway.models(), now):
            self._console.line(standing.words(), "dim")
            left = None if standing.left_s is None else round(standing.left_s, 1)
            self._console.fact("loading", done=standing.done, of=standing.of, left_s=left)

    def ready(self) -> None:
        with self._lock:
            self._starting = False
        views = self._gateway.models()
        served, wrong = answering(views), failed(views)
        self._entries(views, served)
        line = try_line(url(self._gateway.http_address), views)
        absent = left_out(views)
        self._summary(served, wrong, absent)
        for text in absent:
            self._console.line(text, "dim")
        if line:
            self._console.line("try it:")
            self._console.line(f"  {line}")
            if self._gateway.settings.http.pages:
                address = url(self._gateway.http_address)
                self._console.line(f"  or in a browser: {address}/docs")
        if self._console.as_text and sys.stdout.isatty():
            self._console.line(_how_to_stop(self._gateway.settings), "dim")
        more = {"try": line} if line else {}
        if not served:
            more |= {"level": "warning", "reason": self._why_nothing(wrong, absent)}
        named = {"models": served[:_MOST_IN_JSON], "failed": wrong[:_MOST_IN_JSON]}
        self._console.fact("ready", count=len(served), **named, left_out=absent, **more)

    def _why_nothing(self, wrong: Sequence[str], absent: Sequence[str]) -> str:
        if wrong:
            return f"{few(wrong)} failed"
        if absent:
            return "nothing is served of what is on disk"
        return f"no model yet; {_how_to_begin(self._gateway)}"

    def _entries(self, views: Views, served: Sequence[str]) -> None:
        """What lies in the directories and is not served, where no line said it yet."""
        manager, told = self._gateway.manager, {view.name for view in views}
        for one in [one for one in manager.ignored if one.path.parent.name not in told][:_MOST]:
            self._console.line(f"{one.path}: {one.reason}", "yellow")
        for one in manager.passed_over[:_MOST] if not served else ():
            self._console.line(f"{one.path}: passed over: {one.reason}", "yellow")

    def _summary(self, served: Sequence[str], wrong: Sequence[str], absent: Sequence[str]) -> None:
        if served:
            many = f"{len(served):,} models: " if len(served) > FEW else ""
            self._console.line(f"ready: {many}{few(served)}", "green")
            if wrong:
                self._console.line(f"failed: {few(wrong)}", "red")
        elif wrong:
            self._console.line(f"ready, but nothing is served: {few(wrong)} failed", "red")
        else:
            self._console.line(f"ready: {self._why_nothing(wrong, absent)}", "yellow")

    def stopping(self) -> None:
        self._stopping = True
        if self._gateway.lacks_models:
            self._lacks_models(self._gateway.models())
        self._console.line("stopping; a second signal ends at once")
        self._console.fact("stopping")

    def stopped(self, drained: Drained) -> None:
        self._console.line(f"stopped; {_drained_words(drained)}")
        self._console.fact("stopped", in_flight=drained.in_flight, cut_off=drained.cut_off)

    def _lacks_models(self, views: Views) -> None:
        words = "nothing can be served, and models are required (require_models)"
        wrong = failed(views)
        self._entries(views, ())
        said = f"{words}: {f'{few(wrong)} failed' if wrong else 'there is none'}"
        self._console.line(said, "red")
        self._console.fact("no_models", level="error", failed=wrong, reason=said)


def _drained_words(drained: Drained) -> str:
    if drained.cut_off:
        return f"{_requests(drained.cut_off)} cut off, for the time to end was over"
    if drained.in_flight:
        return f"{_requests(drained.in_flight)} that were in flight finished"
    return "nothing was in flight"


def _requests(count: int) -> str:
    return f"{count} request{'' if count == 1 else 's'}"


def _how_to_begin(gateway: Gateway) -> str:
    if gateway.settings.model_control == "explicit":
        return "'serving models load NAME' loads one"
    return "one that is laid down as NAME/1/model.onnx is served seconds later"


def _how_to_stop(settings: Settings) -> str:
    shutdown = settings.shutdown
    return (
        f"Ctrl+C stops it: it answers for {shutdown.drain_delay_s:g} s more, then what is in"
        f" flight may end ({shutdown.drain_timeout_s:g} s at most)"
    )
