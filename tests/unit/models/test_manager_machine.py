"""Anything in any order: a source, commands, failures and restarts, against what must hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from serving.errors import LoadError
from serving.model_config import ModelConfig, VersionPolicy
from serving.models.actual.history import KEPT_OF_ONE
from serving.models.commands.command import (
    AcceptVersion,
    Command,
    FollowList,
    LoadModel,
    Rollback,
    SetAlias,
    SetDefault,
    Ticket,
    UnloadModel,
    subject,
)
from serving.models.desired.choosing import by_version, choose
from serving.models.state import PENDING, State
from serving.models.views import Changes
from serving.registry.directory import FoundModel, FoundVersion, Snapshot, SourceError
from serving.registry.snapshot import NOBODY_WAITS, Closely, Fetched, Fetching, Listed
from serving.settings import Settings
from serving.signature import Signature, Tensor
from tests.unit.manager_world import SIGNATURE, Loaded, SteppedManager, in_force
from tests.unit.models.desired.whole_policy import next_actions

MODELS = ("a", "b")
NUMBERS = st.integers(1, 3)
OTHER = Signature((Tensor("x", "INT64", (-1, 4)),), SIGNATURE.outputs)
POLICIES = st.one_of(
    st.builds(VersionPolicy, st.just("latest"), st.integers(1, 3)),
    st.just(VersionPolicy("all")),
    st.builds(
        VersionPolicy,
        st.just("specific"),
        st.just(1),
        st.lists(NUMBERS, min_size=1, max_size=3, unique=True).map(tuple),
    ),
)


@dataclass(frozen=True)
class Place:
    """The origin of what is in a ``Source``."""

    source: Source = field(compare=False, repr=False)
    model: str
    number: int
    manifest: None = None

    def fetch(self, fetching: Fetching = NOBODY_WAITS) -> Fetched:
        return Fetched(Path("/r") / self.model / str(self.number), Path("/r") / self.model)

    def fingerprint(self) -> str:
        content, _ = self.source.models.get(self.model, {}).get(self.number, ("", False))
        return content


class Source:
    """Directories without a disk: model -> version -> (content, whole)."""

    place = Path("/r")

    def __init__(self) -> None:
        self.models: dict[str, dict[int, tuple[str, bool]]] = {}
        self.configs: dict[str, ModelConfig] = {}
        # Models in a model config list, and those that were taken out of it.
        self.listed: dict[str, Listed] = {}
        self.withdrawn: frozenset[str] = frozenset()
        self.readable = True

    def scan(self, closely: Closely = (), at_once: Closely = (), **_: object) -> Snapshot:
        if not self.readable:
            return Snapshot(errors=(SourceError(Path("/r"), "does not exist"),))
        there = sorted(self.models.keys() - self.withdrawn)
        return Snapshot(tuple(map(self._found, there)), withdrawn=self.withdrawn)

    def _found(self, name: str) -> FoundModel:
        versions = tuple(
            FoundVersion(n, Place(self, name, n), content, whole, "" if whole else "copying")
            for n, (content, whole) in sorted(self.models[name].items())
        )
        stamp = repr(self.configs.get(name))
        listed = self.listed.get(name)
        return FoundModel(name, Path("/r") / name, versions, stamp, listed=listed)

    def config(self, folder: Path) -> ModelConfig:
        return self.configs.get(folder.name, ModelConfig())


class Memory:
    """A state directory that outlives the managers of one run."""

    is_ours = True

    path = None

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}

    def read(self, name: str) -> Any:
        return self.documents.get(name)

    def holds(self, name: str) -> bool:
        return name in self.documents

    def write(self, name: str, document: Any) -> bool:
        self.documents[name] = document
        return True


class ManagerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.source, self.memory = Source(), Memory()
        self.now = 1000.0
        # Content -> how its load fails.
        self.broken: dict[str, Exception] = {}
        # Content -> its signature, where it is another.
        self.signatures: dict[str, Signature] = {}
        self.contents = 0

    @initialize(mode=st.sampled_from(("poll", "explicit", "both")), loads=st.integers(1, 2))
    def begin(self, mode: str, loads: int) -> None:
        # Most that can go wrong needs several versions, and some an alias: not every run must
        # find them first.
        self.source.models["a"] = {number: (self.fresh(), True) for number in (1, 2, 3)}
        self.source.configs["a"] = ModelConfig(version_policy=VersionPolicy("all"))
        self.settings = Settings(
            model_control=mode,
            load_models=("a",),
            threads={"load": loads},
            rollout={"keep_previous_s": 30.0},
        )
        self.start()
        self.every_thread_ends()
        for alias, version in (("x", 2), ("y", 1)):
            self.give(SetAlias("a", alias, version))
        self.tick()

    def start(self) -> None:
        self.published: tuple[Any, ...] = ()
        self.jobs: list[Any] = []
        self.tickets: list[Ticket] = []
        self.served: set[str] = set()
        # Models that a command took a version of since they were last loaded whole.
        self.dismissed: set[str] = set()
        # Models that an unload was given of which may just have been carried out.
        self.unloading: set[str] = set()
        # Versions that answered, and had an alias, when that was looked at last.
        self.named: set[tuple[str, int]] = set()
        # Models that were ever taken out of the list.
        self.taken_out = set(self.source.withdrawn)
        self.manager = SteppedManager(
            self.settings,
            [],
            self.publish,
            self.load,
            state=self.memory,  # type: ignore[arg-type]  # a stand-in without a disk
            sources=[self.source],
            read_config=self.source.config,
            new_stats=lambda model, version: None,  # type: ignore[arg-type,return-value]  # unused
            mono=lambda: self.now,
            wall=lambda: self.now,
            cpu=lambda: 0.0,
            spawn=lambda name, job: self.jobs.append(job),
        )
        self.tick()

    # What a manager needs of the world.

    def publish(self, changed: Changes) -> None:
        table = in_force({view.name: view for view in self.published}, changed)
        self.published = tuple(table.values())

    def routed(self) -> list[Any]:
        return [queue for view in self.published for queue in view.route.queues.values()]

    ends_in_time = True

    def load(self, **call: Any) -> Any:
        content = Place(self.source, call["name"], call["version"]).fingerprint()
        if error := self.broken.get(content):
            raise error
        call["on_warming"]()
        signature = self.signatures.get(content, SIGNATURE)
        return Loaded(call["name"], call["version"], call["config"], self, signature)  # type: ignore[arg-type]  # it asks for no more than this has

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.manager.tick()
        for view in self.published:
            if view.default is not None:
                self.served.add(view.name)
        self.dismissed -= {model for model in MODELS if self.is_loaded_by_command(model)}

    def is_loaded_by_command(self, model: str) -> bool:
        """Whether the last that was said of it was to load it, and it was."""
        mine = [t for t in self.tickets if subject(t.command) == (model, "")]
        last = mine[-1] if mine else None
        if last is None or not isinstance(last.command, LoadModel) or last.command.version:
            return False
        outcome = last.wait(0)
        return outcome is not None and outcome.ok

    def fresh(self) -> str:
        self.contents += 1
        return f"content {self.contents}"

    # What happens.

    @rule(model=st.sampled_from(MODELS), number=NUMBERS, kind=st.sampled_from("ggggbhcss"))
    def publish_version(self, model: str, number: int, kind: str) -> None:
        """Good, broken, broken for a while, still being copied, or with another signature."""
        content = self.fresh()
        if kind == "b":
            self.broken[content] = LoadError("broken")
        elif kind == "h":
            self.broken[content] = OSError(5, "I/O error")
        elif kind == "s":
            self.signatures[content] = OTHER
        self.source.models.setdefault(model, {})[number] = (content, kind != "c")
        self.tick(1.01)

    @rule(model=st.sampled_from(MODELS), number=NUMBERS)
    def delete(self, model: str, number: int) -> None:
        self.source.models.get(model, {}).pop(number, None)
        self.tick(1.01)

    @rule(model=st.sampled_from(MODELS))
    def delete_model(self, model: str) -> None:
        self.source.models.pop(model, None)
        self.tick(1.01)

    @rule(model=st.sampled_from(MODELS), policy=POLICIES, rows=st.integers(1, 2))
    def configure(self, model: str, policy: VersionPolicy, rows: int) -> None:
        self.source.configs[model] = ModelConfig(max_batch_size=rows, version_policy=policy)
        self.tick(1.01)

    @rule(
        model=st.sampled_from(MODELS),
        labels=st.none() | st.dictionaries(st.sampled_from(("x", "z")), NUMBERS, max_size=2),
        policy=st.none() | POLICIES,
    )
    def change_list(self, model: str, labels: Any, policy: VersionPolicy | None) -> None:
        """None: it is taken out, or stays out."""
        was = self.source.listed.pop(model, None)
        if labels is not None:
            self.source.listed[model] = Listed("onnx", policy, labels)
            self.source.withdrawn -= {model}
        elif was is not None:
            self.source.withdrawn |= {model}
            self.taken_out.add(model)
        self.tick(1.01)

    @rule(model=st.sampled_from(MODELS))
    def follow_list(self, model: str) -> None:
        self.give(FollowList(model))
        self.tick()

    @rule(readable=st.booleans())
    def lose_sight(self, readable: bool) -> None:
        self.source.readable = readable
        self.tick(1.01)

    @rule()
    def heal(self) -> None:
        self.broken = {c: e for c, e in self.broken.items() if not isinstance(e, OSError)}

    @rule(seconds=st.sampled_from((0.1, 3.0, 40.0)))
    def wait(self, seconds: float) -> None:
        self.tick(seconds)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def a_thread_ends(self, data: st.DataObject) -> None:
        self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))()
        self.tick()

    @rule()
    def every_thread_ends(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()
            self.tick()

    @rule(model=st.sampled_from(MODELS), version=st.one_of(st.none(), NUMBERS))
    def load_by_command(self, model: str, version: int | None) -> None:
        self.give(LoadModel(model, version))
        self.tick()

    @rule(model=st.sampled_from(MODELS), version=st.one_of(st.none(), NUMBERS))
    def unload_by_command(self, model: str, version: int | None) -> None:
        self.give(UnloadModel(model, version))
        self.tick()

    @rule(model=st.sampled_from(MODELS), version=st.one_of(NUMBERS, st.none()))
    def pin(self, model: str, version: int | None) -> None:
        self.give(SetDefault(model, version))
        self.tick()

    @rule(model=st.sampled_from(MODELS), version=NUMBERS)
    def accept(self, model: str, version: int) -> None:
        self.give(AcceptVersion(model, version))
        self.tick()

    @rule(
        model=st.sampled_from(MODELS),
        alias=st.sampled_from(("x", "y")),
        version=st.one_of(NUMBERS, st.none()),
    )
    def label(self, model: str, alias: str, version: int | None) -> None:
        self.give(SetAlias(model, alias, version))
        self.tick()

    @rule(model=st.sampled_from(MODELS))
    def roll_back(self, model: str) -> None:
        self.give(Rollback(model))
        self.tick()

    @rule(model=st.sampled_from(MODELS))
    def override(self, model: str) -> None:
        self.give(LoadModel(model, override=ModelConfig(max_batch_size=7)))
        self.tick()

    @rule(commands=st.lists(st.sampled_from((LoadModel, UnloadModel)), min_size=2, max_size=6))
    def storm(self, commands: list[Any]) -> None:
        for kind in commands:
            self.give(kind("a"))
        self.tick()

    def give(self, command: Command) -> None:
        self.tickets.append(self.manager.command(command))
        if isinstance(command, UnloadModel):
            self.dismissed.add(command.model)
            self.unloading.add(command.model)

    @rule(damaged=st.booleans())
    def restart(self, damaged: bool) -> None:
        pins = {view.name: view.pinned for view in self.manager.views()}
        aliases = {view.name: view.aliases for view in self.manager.views()}
        self.manager.stop(0.1)
        if damaged:
            self.memory.documents.pop("signatures", None)
        self.start()
        for view in self.manager.views():
            assert view.pinned == pins.get(view.name, view.pinned)
            # What a list says goes to its new version at once where nobody has it.
            if view.name not in self.source.listed:
                assert view.aliases == aliases.get(view.name, view.aliases)

    # What holds.

    @invariant()
    def an_answer_once_given_goes_only_by_command(self) -> None:
        views = {view.name: view for view in self.published}
        for model in self.served - self.dismissed - self.taken_out:
            assert views[model].default is not None

    @invariant()
    def nothing_is_left_to_do_about_models_that_were_not_looked_at(self) -> None:
        loop = self.manager._reconciler
        if loop._undecided or not loop._disk.seen:
            return
        targets = [loop.targets.of(model) for model in sorted(loop._everything())]
        slots = self.manager._slots.all()
        assert next_actions(targets, slots, self.now, loop._limits) == []

    @invariant()
    def no_route_leads_to_what_is_closed(self) -> None:
        assert not any(queue.closed for queue in self.routed())

    @invariant()
    def the_default_is_the_pinned_version_whenever_that_is_ready(self) -> None:
        for view in self.published:
            ready = {v.number for v in view.versions if v.state is State.READY}
            if view.pinned in ready:
                assert view.default == view.pinned
            pending = any(v.state in PENDING for v in view.versions)
            # At a start what is held back waits for what is not; what is there for its alias only
            # answers only where there is nothing else.
            able = view.default is not None or self.able(view.name, ready)
            assert (view.default is None) == (not able) or pending
            assert view.default is None or view.default in ready

    def able(self, model: str, ready: set[int]) -> set[int]:
        target = self.manager._reconciler.targets.of(model)
        choice = choose(target, by_version(self.manager._slots.of(model)))
        return ready - choice.beside if choice.for_all else ready

    @invariant()
    def what_an_alias_names_stays_ready_unless_a_command_or_the_disk_takes_it(self) -> None:
        before, self.named = self.named, set()
        for view in self.published:
            target = self.manager._reconciler.targets.of(view.name)
            ready = {v.number for v in view.versions if v.state is State.READY}
            for alias, version in view.aliases.items():
                wanted = target.aliases.wanted[alias]
                assert version == wanted or version in ready
            named = {(view.name, version) for version in target.aliases.wanted.values()}
            for _, version in () if view.name in self.unloading else before & named:
                candidate = target.of(version)
                if candidate is not None and candidate.whole and not target.dismissed(version):
                    assert version in ready
            self.named |= {one for one in named if one[1] in ready}
        waiting = self.manager._tickets.waiting()
        self.unloading &= {order.command.model for order in waiting}

    @invariant()
    def the_history_and_the_loads_at_once_are_bounded(self) -> None:
        assert all(len(self.manager.history(model)) <= KEPT_OF_ONE for model in MODELS)
        loading = [
            s for s in self.manager._slots.all() if s.state in (State.LOADING, State.WARMING)
        ]
        assert len(loading) <= self.settings.loads

    @invariant()
    def an_older_command_has_ended_when_another_one_was_given(self) -> None:
        for about in {subject(ticket.command) for ticket in self.tickets}:
            last: Command | None = None
            for ticket in reversed([t for t in self.tickets if subject(t.command) == about]):
                last = last or ticket.command
                assert ticket.command == last or ticket.wait(0) is not None

    def teardown(self) -> None:
        """Left alone, everything comes to rest: in the state that was asked for last."""
        if not hasattr(self, "manager"):
            return
        self.source.readable = True
        self.broken = {c: e for c, e in self.broken.items() if isinstance(e, LoadError)}
        for versions in self.source.models.values():
            versions.update({n: (content, True) for n, (content, _) in versions.items()})
        for _ in range(80):
            self.tick(1.01)
            while self.jobs:
                self.jobs.pop(0)()
                self.tick()
            self.no_route_leads_to_what_is_closed()
            self.an_answer_once_given_goes_only_by_command()
        slots = self.manager._slots.all()
        assert not [s for s in slots if s.state in (*PENDING, State.DRAINING)]
        assert all(ticket.wait(0) is not None for ticket in self.tickets)
        for view in self.published:
            self.rests(view)
        assert self.manager.tick() > 0.0

    def rests(self, view: Any) -> None:
        target = self.manager._reconciler.targets.of(view.name)
        pinned = target.of(view.pinned) if view.pinned is not None else None
        if pinned is None or target.dismissed(view.pinned):
            return
        if view.pinned not in self.source.models.get(view.name, {}):
            return  # it vanished, perhaps before it was ever loaded: the pin waits for it
        if not isinstance(self.broken.get(pinned.key.files), LoadError):
            assert view.default == view.pinned


TestManagerMachine = ManagerMachine.TestCase
TestManagerMachine.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
