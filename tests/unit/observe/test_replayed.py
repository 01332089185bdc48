"""Which requests are taken for the gates of new versions, and when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serving.gates.recorded import of_sample
from serving.gates.replay import Replay
from serving.loading.facts import VersionFacts
from serving.model_config import ModelConfig
from serving.model_config.gates import GatesConfig
from serving.models.state import State
from serving.models.views import Changes, ModelView, Route, VersionView
from serving.observe.replayed import ReplayTaker
from serving.observe.samples import Samples
from serving.observe.sampling import configure
from serving.registry.folder_origin import FolderOrigin
from serving.settings import RequestLogSettings, Settings
from serving.settings.gates import GatesSettings
from tests.clients.gateway import wait_until
from tests.unit.observe.request_log.test_request_log import FakeQueue
from tests.unit.request_log_samples import FakeSource, holding, sample

GATED, PLAIN = GatesConfig(safe_to_serve=True), GatesConfig()


def views(default: int | None, gates: GatesConfig, **queues: FakeQueue) -> Changes:
    """Versions v1, v2, ... with these queues."""
    config = replace(ModelConfig(), gates=gates)
    versions = tuple(
        VersionView(
            number=int(name[1:]),
            state=State.READY,
            origin=FolderOrigin(Path("/m")),
            facts=VersionFacts(config=config),
            queue=queue,  # type: ignore[arg-type]  # it only takes rates
        )
        for name, queue in queues.items()
    )
    return {"m": ModelView("m", versions, Route(default=default))}


def taker(most: int = 3) -> tuple[ReplayTaker, Replay]:
    replay = Replay(most, 1 << 20)
    return ReplayTaker(Settings(), replay, {}), replay


def test_only_the_answering_version_of_a_model_with_gates_is_sampled() -> None:
    one, _ = taker()
    hub, first, second = Samples(FakeSource(), [one], at_once=False), FakeQueue(), FakeQueue()
    hub.watch(views(1, PLAIN, v1=first, v2=second))
    assert (first.rates, second.rates) == ([0.0], [0.0])
    hub.watch(views(1, GATED, v1=first, v2=second))
    assert (first.rates, second.rates) == ([0.0, 1.0], [0.0])
    hub.watch(views(2, GATED, v1=first, v2=second))
    assert (first.rates, second.rates) == ([0.0, 1.0, 0.0], [0.0, 1.0])
    hub.watch(views(2, PLAIN, v1=first, v2=second))
    assert (first.rates[-1], second.rates[-1]) == (0.0, 0.0)


def test_once_enough_are_kept_few_are_taken_until_another_version_answers() -> None:
    (one, replay), source = taker(), FakeSource()
    hub, first, second = Samples(source, [one], at_once=False), FakeQueue(), FakeQueue()
    one.on_full = hub.renew
    version = sample().version
    hub.start()
    hub.watch(views(version, GATED, **{f"v{version}": first}))
    source.give(*[sample([n, n]) for n in range(5)])
    wait_until(lambda: len(first.rates) == 2, 20, "enough are kept")
    assert first.rates == [1.0, 1 / 256]
    kept = replay.of("m", version)
    assert kept == [of_sample(sample([n, n])) for n in (2, 3, 4)]
    assert np.frombuffer(kept[0].inputs[0][3], "<f4").tolist() == [2.0, 2.0]
    hub.watch(views(version + 1, GATED, **{f"v{version + 1}": second}))
    assert second.rates == [1.0]
    assert replay.of("m", version) == []
    source.end()
    hub.stop(20)


def test_nothing_is_pulled_before_something_is_sampled() -> None:
    (one, _), source = taker(), FakeSource()
    hub = Samples(source, [one], at_once=False)
    hub.start()
    hub.watch(views(1, PLAIN, v1=FakeQueue()))
    seen = [hub._thread.ident]
    hub.watch(views(1, GATED, v1=FakeQueue()))
    seen.append(hub._thread.ident)
    assert [ident is None for ident in seen] == [True, False]
    source.end()
    hub.stop(20)


def test_requests_that_failed_are_none_to_be_held_against() -> None:
    one, replay = taker()
    one.watch(views(sample().version, GATED, **{f"v{sample().version}": FakeQueue()}))
    one.keep([holding((), word="bad_data", message="no")])
    assert replay.counts() == {"m": 0}


class Told:
    """Of the core's server, what it is told."""

    def observe(self, **rules: Any) -> None:
        self.rules = rules


def told(*, statistics: bool = False, **settings: Any) -> tuple[int, int]:
    server = Told()
    configure(server, Settings(**settings), statistics=statistics)
    return server.rules["sample_buffer_bytes"], server.rules["sample_max_bytes"]


def test_the_core_keeps_samples_where_somebody_may_want_them(tmp_path: Path) -> None:
    assert told() == (64 << 20, 32 << 20)
    assert told(gates=GatesSettings(replay=False)) == (0, 32 << 20)
    assert told(gates=GatesSettings(replay=False), statistics=True) == (64 << 20, 32 << 20)
    assert told(gates=GatesSettings(replay_bytes=1000)) == (1 << 20, 500)
    log = RequestLogSettings(path=tmp_path, max_request_bytes=77, buffer_bytes=7777)
    assert told(request_log=log) == (7777, 77)
