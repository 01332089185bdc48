"""``serving replay``."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli import address, asking, options
from serving.cli.output import UserError, print_json, print_line, print_table

if TYPE_CHECKING:
    from serving.cli.resend import Outcome, Target
    from serving.observe.request_log.read import Damaged, Entry
    from serving_client import Client

# What it sends carries this, in both protocols.
REPLAY_HEADER = "serving-replay"
# Kept for the end of the report; a bad version differs in every request.
_MOST_KEPT = 1000
_PROGRESS_S = 0.5


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Files of a request log, JSON Lines or Parquet, or a folder of them.",
            exists=True,
            readable=True,
        ),
    ],
    url: address.Url = None,
    protocol: address.ProtocolOption = None,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="N|default",
            help="The version to send to; default: as the gateway routes."
            " Without it, the version that answered then.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only requests for this model.")] = None,
    to_model: Annotated[str | None, typer.Option(help="Send to this model instead.")] = None,
    rtol: Annotated[float, typer.Option(min=0, help="Relative tolerance.")] = 1e-3,
    atol: Annotated[float, typer.Option(min=0, help="Absolute tolerance.")] = 1e-4,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests at once.")] = 4,
    show: Annotated[int, typer.Option(min=0, help="Differences and failures to list.")] = 10,
    timeout: Annotated[float, typer.Option(min=0.001, help="Of a request, in seconds.")] = 60.0,
    as_json: options.Json = False,
) -> None:
    """Send logged requests again and compare the answers.

    Floating-point outputs may differ within the tolerance; everything else must be equal.
    The exit status is 1 where an answer differs, a request fails, or none was sent. What is
    sent is marked (header serving-replay), so that no gateway logs it again unless
    request_log.replayed is on.
    """
    from serving.cli.resend import Target, resend

    target = Target(version=_version(version), model=to_model)
    report = Report()
    broken: UserError | None = None
    with _client(*address.door(url, protocol), timeout) as client:
        with asking.in_words():
            client.server_metadata()
        try:
            with _progress(report, quiet=as_json):
                entries = _entries(files, model, report)
                for outcome in resend(
                    entries, client, target, concurrency=concurrency, rtol=rtol, atol=atol
                ):
                    report.add(outcome)
        except UserError as error:
            if not report.sent:
                raise
            broken = error
    if as_json:
        print_json(report.document(show))
    else:
        _print(report, target, show)
    if broken is not None:
        raise UserError(f"ended after {report.sent} requests: {'; '.join(broken.lines)}")
    if not report.sent:
        raise UserError(_why_nothing(report, model))
    if report.total("different") or report.total("failed"):
        raise typer.Exit(1)


@dataclass
class Report:
    """What came of all requests, counted by model, version then and version now."""

    counts: dict[tuple[str, int, str], Counter[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    bad: list[Outcome] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)
    damaged_count: int = 0
    # Requests for other models than the one that was named.
    others: Counter[str] = field(default_factory=Counter)
    # Files of a folder that have no end yet: left out.
    unfinished: list[Path] = field(default_factory=list)
    # For whoever looks from another thread.
    seen: int = 0
    seen_bad: int = 0

    def add(self, outcome: Outcome) -> None:
        self.seen += 1
        self.seen_bad += outcome.result in ("different", "failed")
        key = (outcome.model, outcome.then, outcome.now)
        self.counts.setdefault(key, Counter())[outcome.result] += 1
        if outcome.result == "skipped":
            self.reasons[outcome.words] += 1
        elif outcome.result != "same" and len(self.bad) < _MOST_KEPT:
            self.bad.append(outcome)

    def add_damaged(self, one: Damaged) -> None:
        self.damaged_count += 1
        if len(self.damaged) < _MOST_KEPT:
            self.damaged.append(one)

    def total(self, result: str) -> int:
        return sum(counter[result] for counter in self.counts.values())

    @property
    def sent(self) -> int:
        return sum(map(self.total, ("same", "different", "failed")))

    def document(self, show: int) -> dict[str, Any]:
        results = ("same", "different", "failed", "skipped")
        return {
            **{result: self.total(result) for result in results},
            "skipped_because": dict(sorted(self.reasons.items())),
            "damaged": self.damaged_count,
            "still_written": [str(file) for file in self.unfinished],
            "models": [
                {
                    "model": model,
                    "version_then": then,
                    "version_now": now or None,
                    **{result: counter[result] for result in results},
                }
                for (model, then, now), counter in sorted(self.counts.items())
            ],
            "differences": [asdict(one) for one in self.bad[:show]],
            "damaged_lines": [asdict(one) for one in self.damaged[:show]],
        }


def _version(text: str | None) -> str | None:
    """None: the one that answered then; "": as the gateway routes."""
    if text is None or text == "default":
        return None if text is None else ""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UserError(f"--version: expected a positive number or 'default', got '{text}'", code=2)
    return str(int(text))


def _why_nothing(report: Report, model: str | None) -> str:
    """The first of these is the likeliest thing to do about it."""
    reasons = [
        f"{file} is still being written and was left out: give that file, not its folder, to send"
        " what it holds so far"
        for file in report.unfinished[:1]
    ]
    if report.others:
        names = ", ".join(name for name, _ in report.others.most_common(3))
        reasons.append(f"no request is for model '{model}' (there are some for {names})")
    reasons += [f"skipped, {reason}: {count}" for reason, count in sorted(report.reasons.items())]
    if report.damaged_count:
        reasons.append(f"damaged: {report.damaged_count}")
    return f"nothing was sent: {'; '.join(reasons) or 'there is no request in it'}"


def _client(protocol: address.Protocol, url: str, timeout: float) -> Client:
    return asking.open_client(protocol, url, timeout, {REPLAY_HEADER: "1"}, patient=True)


def _entries(files: list[Path], model: str | None, report: Report) -> Iterator[Entry]:
    from serving.errors import ConfigError
    from serving.observe.request_log.read import Damaged, NoLogError, files_of, unfinished_of

    for given in files:
        try:
            report.unfinished += unfinished_of(given)
            for file in files_of(given):
                try:
                    yield from _entries_of(file, model, report)
                except NoLogError as error:
                    if file == given:
                        raise UserError(f"{file}: {error}") from None
                    report.add_damaged(Damaged(file.name, str(error)))
        except OSError as error:
            raise UserError(f"{given}: {error.strerror or error}") from None
        except ConfigError as error:
            raise UserError(f"{given}: {error}") from None


def _entries_of(file: Path, model: str | None, report: Report) -> Iterator[Entry]:
    from serving.observe.request_log.read import Damaged, read

    for one in read(file):
        if isinstance(one, Damaged):
            report.add_damaged(one)
        elif model is None or one.record.model == model:
            yield one
        else:
            report.others[one.record.model] += 1


@contextmanager
def _progress(report: Report, *, quiet: bool) -> Iterator[None]:
    """A line on stderr while it lasts, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_keep_telling, args=(report, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _keep_telling(report: Report, done: threading.Event) -> None:
    began = time.monotonic()
    while not done.wait(_PROGRESS_S):
        rate = report.seen / (time.monotonic() - began)
        print(
            f"\r{report.seen} requests, {report.seen_bad} different or failed, {rate:.0f}/s ",
            end="",
            file=sys.stderr,
            flush=True,
        )
    print("\r" + " " * 70, end="\r", file=sys.stderr, flush=True)


def _print(report: Report, target: Target, show: int) -> None:
    rows = [
        (
            model,
            then,
            now or None,
            *(counter[result] for result in ("same", "different", "failed", "skipped")),
        )
        for (model, then, now), counter in sorted(report.counts.items())
    ]
    if target.model is not None:
        print_line(f"sent to model {target.model}")
    if rows:
        print_table(("MODEL", "THEN", "NOW", "SAME", "DIFFERENT", "FAILED", "SKIPPED"), rows)
    for reason, count in sorted(report.reasons.items()):
        print_line(f"skipped, {reason}: {count}")
    for file in report.unfinished:
        print_line(f"left out, for it is still being written: {file}")
    if report.damaged_count:
        print_line(f"damaged: {report.damaged_count}")
        for damaged in report.damaged[:show]:
            print_line(f"  {damaged.place}: {damaged.reason}")
    for one in report.bad[:show]:
        print_line(f"{one.place}: {one.model} {one.then}: {one.result}: {one.words}")
    hidden = report.total("different") + report.total("failed") - min(show, len(report.bad))
    if hidden > 0:
        print_line(f"and {hidden} more")
