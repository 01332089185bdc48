"""Drift, from training to the alarm: a whole story on this machine, told as it happens.

It trains a small classifier of card payments, publishes it with statistics of its training data,
serves it in windows of two seconds, learns from clean traffic what is usual, and then sends what a
new release of the shop makes of the payments. No request fails; it shows who notices: the console,
Prometheus and MLflow. Both are used where they are installed.

    pip install 'serving[cpu,client,statistics]' scikit-learn onnx
    python examples/drift.py [--keep] [--folder DIR] [--window SECONDS] [--tracking-uri URL]

Exit status: 0 the alarm was seen wherever it could be, 1 it was not, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import local_services as local
from drift_sights import check_mlflow, see_console, see_mlflow, see_prometheus
from drift_story import Story, addresses, chapter, say, tell
from local_services import StoryError

# Windows of clean traffic: thresholds want eight at least.
LEARNED = 12
FINE = 4


# The chapters


def train(story: Story) -> None:
    chapter("Training, and what the training data was like")
    (story.folder / "models").mkdir()
    story.run("payments.py", str(story.folder))
    publish = ("publish", "payments.onnx", "--to", "models", "--model", "payments")
    story.run("serving", *publish, "--training-data", "train.csv")
    story.run("serving", "schema", "infer", "train.csv", "-o", "models/payments/schema.pbtxt")
    say("The version's folder has statistics of train.csv (baseline.pb), the model's a schema.")


def start_services(story: Story, tracking_uri: str | None) -> None:
    chapter("Serving")
    if tracking_uri == "none":
        say("MLflow: left out, as asked for")
    elif tracking_uri:
        story.mlflow = tracking_uri.rstrip("/")
    elif (mlflow := local.start_mlflow(story.folder)) is not None:
        story.services.append(mlflow)
        story.mlflow = mlflow.url
    else:
        say("MLflow: not installed (pip install mlflow, or --tracking-uri URL): left out")
    window = f"{story.window_s:g}"
    settings = {"statistics.window_s": window, "tracking.window_s": window}
    if story.mlflow:
        settings["tracking.mlflow.uri"] = story.mlflow
    gateway, story.addresses = local.start_gateway(story.folder, settings)
    story.services.append(gateway)
    prometheus = local.start_prometheus(story.folder, story.addresses["admin"])
    if prometheus is not None:
        story.services.append(prometheus)
        story.prometheus = prometheus.url
    else:
        say("Prometheus: not installed (Debian: apt install prometheus): its metrics alone")
    (story.folder / "addresses.json").write_text(json.dumps(addresses(story), indent=2))
    for name, url in addresses(story).items():
        say(f"{name}: {url}")


def clean(story: Story) -> None:
    chapter("Clean traffic, and thresholds out of it")
    schema = "models/payments/schema.pbtxt"
    said(story.send("--seconds", f"{LEARNED * story.window_s:g}"))
    learned = ("--live", "payments", "--window", "minute", "--last", "40")
    against = ("--baseline", "models/payments/1/baseline.pb", "--schema", schema, "-o", schema)
    story.run("serving", "schema", "suggest-thresholds", *learned, *against)
    said(story.send("--seconds", f"{FINE * story.window_s:g}"))
    standing = story.anomalies()
    say("Anomalies: none" if not standing else "Anomalies, which there should be none of:")
    tell(standing)


def said(sender: subprocess.Popen[str]) -> None:
    """Waits for its end. Raises StoryError where nothing was answered."""
    try:
        words = sender.communicate()[0].strip()
    finally:
        sender.terminate()
    if sender.returncode:
        raise StoryError(words or "nothing could be sent")
    say(words)


@contextlib.contextmanager
def drifting(story: Story) -> Iterator[None]:
    """Goes on being sent meanwhile."""
    chapter("The shop's new release: amounts in cents, no age, and Norway")
    sender = story.send("--after-release", "--seconds", "86400")
    try:
        yield
    finally:
        sender.terminate()
        words = sender.communicate()[0].strip()
        say(f"The sender, who knows what came out weeks later: {words}")


# From beginning to end


def tell_story(story: Story, tracking_uri: str | None, keep: bool) -> None:
    if tracking_uri and tracking_uri != "none":
        check_mlflow(tracking_uri)
    train(story)
    start_services(story, tracking_uri)
    clean(story)
    with drifting(story):
        see_console(story)
        see_prometheus(story)
        see_mlflow(story)
        if keep:
            rest(story)


def rest(story: Story) -> None:
    chapter("Everything goes on, drifting payments too, until Ctrl-C")
    for name, url in addresses(story).items():
        say(f"{name}: {url}")
    until = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: until.set())
    while not until.wait(0.5):
        for one in story.services:
            if one.ended():
                raise StoryError(f"{one.name} has ended: {one.log}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Drift, from training to the alarm.")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    parser.add_argument("--folder", type=Path, help="where to, empty or new; default: one for now")
    parser.add_argument("--window", type=window, default=2.0, help="seconds, 1 to 60; default 2")
    parser.add_argument(
        "--tracking-uri",
        type=address,
        metavar="URL",
        help="an MLflow server that runs, or none; default: one is started, if it is installed",
    )
    return parser.parse_args()


def window(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 1 <= (value := float(text)) <= 60:
            return value
    raise argparse.ArgumentTypeError(f"expected 1 to 60 seconds, got '{text}'")


def address(text: str) -> str:
    if text == "none" or text.startswith(("http://", "https://")):
        return text
    raise argparse.ArgumentTypeError(f"expected http://..., https://... or none, got '{text}'")


@contextlib.contextmanager
def place(folder: Path | None) -> Iterator[Path]:
    """Raises StoryError where something is there already."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="drift-") as made:
            yield Path(made)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as error:
        raise StoryError(f"--folder {folder}: {(error.strerror or str(error)).lower()}") from None
    if taken:
        raise StoryError(f"--folder {folder}: expected an empty or a new one")
    yield folder.resolve()


def missing() -> list[str]:
    """Packages that the story can't do without."""
    needed = {
        "sklearn": "scikit-learn",
        "onnx": "onnx",
        "datasketches": "serving[statistics]",
        "onnxruntime": "serving[cpu]",
        "serving_client": "serving[client]",
    }
    return [name for module, name in needed.items() if importlib.util.find_spec(module) is None]


def main() -> int:
    given = arguments()
    if lacking := missing():
        print(f"not installed: pip install {shlex.join(lacking)}", file=sys.stderr)
        return 1
    # Whatever ends it, it ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with place(given.folder) as folder:
            story = Story(folder, given.window)
            try:
                tell_story(story, given.tracking_uri, given.keep)
            finally:
                for one in reversed(story.services):
                    one.stop()
    except StoryError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\nThe alarm was seen in every place that there is.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
