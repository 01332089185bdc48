"""One taker of samples, and as many who want them as there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from structlog.testing import capture_logs

from serving import _core
from serving.model_config import RequestLogConfig
from serving.models.state import State
from serving.models.views import Changes, VersionView
from serving.observe.samples import Samples
from tests.unit.observe.request_log.test_request_log import FakeQueue, version, views
from tests.unit.request_log_samples import FakeSource, sample


class Keeper:
    """Wants so much of each version; by number where it says so."""

    keeps_anomalies = False

    def __init__(self, rate: float, **of: float) -> None:
        self._rate, self._of = rate, of
        self.kept: list[Any] = []
        self.told: list[str] = []
        self.seen: Changes = {}

    def watch(self, changed: Changes) -> None:
        self.seen = changed

    def rate(self, version: VersionView) -> float:
        return self._of.get(f"v{version.number}", self._rate)

    def begin(self) -> None:
        self.told.append("begin")

    def keep(self, samples: Sequence[_core.Sample]) -> None:
        self.kept.extend(samples)

    def end(self) -> None:
        self.told.append("end")


class Failing(Keeper):
    def keep(self, samples: Sequence[_core.Sample]) -> None:
        raise RuntimeError("a bug of ours")


def run(source: FakeSource, hub: Samples) -> None:
    hub.start()
    source.end()
    hub.stop(60.0)


def test_a_version_is_sampled_once_it_is_ready_at_the_largest_rate_that_one_asks_for() -> None:
    hub = Samples(FakeSource(), [Keeper(0.25), Keeper(0.0, v2=0.5)])
    first, second, coming = FakeQueue(), FakeQueue(), FakeQueue()
    hub.watch(views(version(1, first), version(2, second), version(3, coming, State.WARMING)))
    assert (first.rates, second.rates, coming.rates) == ([0.25], [0.5], [])


def test_a_changed_rate_is_set_and_an_unchanged_one_is_left() -> None:
    class Asking(Keeper):
        def rate(self, version: VersionView) -> float:
            assert version.facts.config is not None
            own = version.facts.config.request_log.rate
            return 0.25 if own is None else own

    hub, line = Samples(FakeSource(), [Asking(0.0)]), FakeQueue()
    for own in (None, None, 0.5, 0.5, 0.0, None):
        hub.watch(views(version(1, line, log=RequestLogConfig(rate=own))))
    assert line.rates == [0.25, 0.5, 0.0, 0.25]


def test_a_version_loaded_again_gets_its_rate_again() -> None:
    hub, before, after = Samples(FakeSource(), [Keeper(0.25)]), FakeQueue(), FakeQueue()
    hub.watch(views(version(1, before)))
    hub.watch(views(version(1, after)))
    assert after.rates == [0.25]


def test_a_subscriber_knows_a_version_before_its_first_sample() -> None:
    class Queue(FakeQueue):
        def sample(self, rate: float) -> None:
            assert keeper.seen == now

    keeper = Keeper(1.0)
    now = views(version(3, Queue()))
    Samples(FakeSource(), [keeper]).watch(now)
    assert keeper.seen == now


def test_each_gets_its_share_of_what_is_sampled() -> None:
    source, all_, some, none = FakeSource(), Keeper(0.5), Keeper(0.05), Keeper(0.0)
    hub = Samples(source, [all_, some, none])
    hub.watch(views(version(3)))
    given = [sample(id=str(i)) for i in range(50)] * 80
    source.give(*given)
    run(source, hub)
    assert all_.kept == given
    assert 200 < len(some.kept) < 800  # a tenth: 400, 19 either way
    assert none.kept == []


def test_one_that_fails_keeps_samples_from_nobody() -> None:
    source, keeper = FakeSource(), Keeper(1.0)
    hub = Samples(source, [Failing(1.0), keeper])
    one = sample()
    source.give(one)
    with capture_logs() as told:
        run(source, hub)
    assert keeper.kept == [one]
    assert [record["event"] for record in told] == ["samples_not_kept"]


def test_subscribers_begin_before_the_first_and_end_after_the_last() -> None:
    source, keeper = FakeSource(), Keeper(1.0)
    hub = Samples(source, [keeper])
    source.give(sample())
    run(source, hub)
    assert keeper.told == ["begin", "end"]
    assert len(keeper.kept) == 1


class PacedKeeper(Keeper):
    """Wants so many of each a second."""

    def __init__(self, per_second: float) -> None:
        super().__init__(0.0)
        self.wanted = per_second

    def per_second(self, version: VersionView) -> float:
        return self.wanted


class PacedQueue(FakeQueue):
    def __init__(self) -> None:
        super().__init__()
        self.paced: list[float] = []

    def sample_for_statistics(self, per_second: float) -> None:
        self.paced.append(per_second)


class Taken(NamedTuple):
    """What the hub reads of a sample."""

    drawn: bool
    for_statistics: bool
    model: str = "m"
    version: int = 3
    for_anomaly: bool = False


def test_each_queue_is_told_once_how_many_a_second_statistics_get() -> None:
    keeper, before, after = PacedKeeper(5.0), PacedQueue(), PacedQueue()
    hub = Samples(FakeSource(), [Keeper(0.25)], paced=keeper)
    for line in (before, before, after):
        hub.watch(views(version(3, line)))
    keeper.wanted = 7.0
    hub.watch(views(version(3, after)))
    assert (before.paced, after.paced) == ([5.0], [5.0, 7.0])
    assert (before.rates, after.rates) == ([0.25], [0.25])


def test_statistics_get_what_is_theirs_and_others_what_was_drawn() -> None:
    source, keeper, paced = FakeSource(), Keeper(1.0), PacedKeeper(5.0)
    hub = Samples(source, [keeper], paced=paced)
    hub.watch(views(version(3, PacedQueue())))
    both, drawn, counted = Taken(True, True), Taken(True, False), Taken(False, True)
    source.give(both, drawn, counted)
    run(source, hub)
    assert keeper.kept == [both, drawn]
    assert paced.kept == [both, counted]
    assert paced.told == ["begin", "end"]


def test_who_keeps_anomalies_gets_them_beside_its_share_and_only_where_it_has_any() -> None:
    source, keeper, other = FakeSource(), Keeper(1e-9, v4=0.0), Keeper(1e-9)
    keeper.keeps_anomalies = True
    hub = Samples(source, [keeper, other, Keeper(1.0)])
    hub.watch(views(version(3), version(4)))
    odd, none = Taken(False, False, for_anomaly=True), Taken(False, False, "m", 4, True)
    source.give(odd, none, Taken(True, False))
    run(source, hub)
    assert (keeper.kept, other.kept) == ([odd], [])


def test_statistics_alone_are_enough_to_pull_samples() -> None:
    source = FakeSource()
    hub = Samples(source, [], paced=PacedKeeper(5.0), at_once=False)
    hub.start()
    seen = [hub._thread.ident]
    hub.watch(views(version(3, PacedQueue())))
    seen.append(hub._thread.ident)
    assert [ident is None for ident in seen] == [True, False]
    source.end()
    hub.stop(20)
