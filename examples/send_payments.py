"""Send payments to the model `payments` of a running gateway, as `examples/payments.py` makes them.

Some clients send at once, fifty payments a request. What came out weeks later is known here, so it
says how many answers were right, which no gateway can know.

    python examples/send_payments.py [--seconds 20] [--after-release] [--url HOST:PORT]
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from payments import payments
from serving_client import Client
from serving_client.errors import ServingError

MODEL = "payments"
ROWS = 50
CLIENTS = 2
PAUSE_S = 0.05


@dataclass
class Sent:
    """Of payments that were answered, how many answers were right; and requests that were not
    answered."""

    payments: int = 0
    right: int = 0
    failed: int = 0
    why: str = ""

    def __str__(self) -> str:
        share = f"{self.right / self.payments:.1%}" if self.payments else "none"
        reason = f" ({self.why})" if self.why else ""
        return (
            f"{self.payments:,} payments, {share} answered right;"
            f" failed requests: {self.failed}{reason}"
        )


def send(url: str, until: threading.Event, *, after_release: bool, seed: int = 0) -> Sent:
    """From one client, until the event is set."""
    random, sent = np.random.default_rng(seed), Sent()
    with Client(url, timeout=10) as client:
        while not until.is_set():
            some = payments(ROWS, random, after_release=after_release)
            try:
                answer = client.infer(MODEL, some.inputs())
            except ServingError as error:
                sent.failed += 1
                sent.why = str(error)
            else:
                sent.payments += ROWS
                sent.right += int((answer["label"] == some.fraud).sum())
            until.wait(PAUSE_S)
    return sent


def send_from_all(url: str, seconds: float, until: threading.Event, *, after_release: bool) -> Sent:
    """From several clients at once, for so long or until the event is set."""
    began = time.monotonic_ns()
    with ThreadPoolExecutor(CLIENTS) as pool:
        calls = [
            pool.submit(send, url, until, after_release=after_release, seed=began + number)
            for number in range(CLIENTS)
        ]
        try:
            until.wait(seconds)
        finally:
            until.set()
        parts = [call.result() for call in calls]
    return Sent(
        sum(part.payments for part in parts),
        sum(part.right for part in parts),
        sum(part.failed for part in parts),
        next((part.why for part in parts if part.why), ""),
    )


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"expected 0 to 86400 seconds, got {text}")
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description="Send made-up payments to a running gateway.")
    parser.add_argument("--url", default="127.0.0.1:8081", help="HOST:PORT (gRPC) or http://...")
    parser.add_argument("--seconds", type=positive, default=20.0)
    parser.add_argument(
        "--after-release",
        action="store_true",
        help="as the shop's new release sends them: amounts in cents, no age, Norway",
    )
    given = parser.parse_args()
    until = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: until.set())
    try:
        sent = send_from_all(given.url, given.seconds, until, after_release=given.after_release)
    except ValueError as error:
        parser.error(str(error))
    print(sent)
    return 0 if sent.payments else 1


if __name__ == "__main__":
    sys.exit(main())
