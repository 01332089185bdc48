"""What travels over the admin port, described once: requests are parsed with these, and the
OpenAPI document is made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serving.models.commands.command import LONGEST_REASON
from serving.operations import Form

# As the enum ModelState.
_ModelState = Literal["ready", "loading", "failed", "unloaded"]
_Pattern = Annotated[str, Field(max_length=255)]
Version = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
Reason = Annotated[
    str, Field(max_length=LONGEST_REASON, description="Why, for the history and the log.")
]


class ModelsQuery(Form):
    name: list[_Pattern] = Field(
        default=[],
        max_length=32,
        description="Only models of this name; `*`, `?` and `[...]` stand for what a shell means by"
        " them. May come several times: one has to match.",
    )
    state: list[_ModelState] = Field(
        default=[],
        max_length=8,
        description="Only models of which this is true (see `states`). May come several times:"
        " one has to be.",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="So many models at most; without it all of them.",
    )
    after: _Pattern | None = Field(
        default=None, description="Only models whose names come after this one: a page's `next`."
    )


class VersionBody(Form):
    """What a load or unload is about."""

    version: Version | None = Field(
        default=None, description="One version. Without it: what the version policy wants, or all."
    )


class DefaultBody(Form):
    version: Version | Literal["auto"] = Field(
        description="The version that answers unnamed requests from now on;"
        " `auto`: the newest that is ready."
    )
    reason: Reason = ""


class AcceptBody(Form):
    version: Version = Field(description="The version whose signature is meant as it is.")


class BlessBody(Form):
    version: Version = Field(description="The version that is to take traffic.")
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Why, whatever its gates say: its verdict shows it."
    )


class AliasBody(Form):
    alias: Annotated[str, Field(min_length=1, max_length=255)] = Field(
        description="TensorFlow Serving's label, MLflow's alias: 1 to 255 bytes, no number, none of"
        " `/ : @ \\`."
    )
    version: Version | None = Field(
        description="The version that answers to it from now on, which has to answer already;"
        " null: there is no such alias any more."
    )
    reason: Reason = ""


class ReasonBody(Form):
    """Nothing, or why."""

    reason: Reason = ""


class Error(Form):
    error: str


class Entrance(Form):
    """Paths of this port, and where the models answer."""

    name: str
    version: str
    description: str
    control: str
    settings: str
    tracking: str
    metrics: str
    health: str
    inference: str


class Live(Form):
    live: bool


class Ready(Form):
    ready: bool


class TensorInfo(Form):
    name: str
    datatype: str
    shape: list[int] = Field(description="-1: varies.")
    optional: bool


class ManifestInfo(Form):
    """Where a version comes from, as whoever published it says; "" where nobody said."""

    created: str
    git_commit: str
    mlflow_run_id: str
    mlflow_model_id: str
    metadata: dict[str, str]
    metrics: dict[str, float]


class CostInfo(Form):
    """Of a run, as warm-up measured it: `fixed_s` and `per_row_s` in seconds."""

    fixed_s: float
    per_row_s: float
    best_rows: int | None = Field(description="The batch size at which a row is cheapest.")


class CheckInfo(Form):
    """One thing that a gate asked."""

    gate: Literal["safe_to_serve", "quality"]
    name: str = Field(description="Such as a metric.")
    passed: bool
    words: str = Field(description="What was asked, or what is wrong.")
    slice: str = Field(description='The examples it is of, as `column=value`; "": all.')
    value: float | None = Field(description="The version's; null where there is none.")
    base: float | None = Field(description="The answering version's.")


class VerdictInfo(Form):
    verdict: Literal["BLESSED", "NOT_BLESSED"]
    at: float = Field(description="Seconds since the epoch.")
    checks: list[CheckInfo]
    notes: list[str]
    base: int | None = Field(description="The version that it was held against; null: none.")
    requests: int = Field(description="That were run.")
    examples: int = Field(description="Of the evaluation set.")
    seconds: float = Field(description="That it took.")
    by: str = Field(description="Who blessed it by command, as far as the port knows.")
    reason: str = Field(description='Why; "": the gates said it.')


class VersionInfo(Form):
    version: int
    state: Literal["NEW", "LOADING", "WARMING", "READY", "DRAINING", "GONE", "FAILED"]
    reason: str
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    left_out: list[str] = Field(description="Outputs that no protocol can carry.")
    batching: str
    max_rows: int = Field(description="0: each request runs alone.")
    provider: str
    provider_nodes: dict[str, int]
    threads: int
    instances: int
    ready_since: float | None = Field(description="Seconds since the epoch.")
    load_seconds: float | None
    notes: list[str]
    queue: dict[str, int] | None
    memory_bytes: int = Field(description="An estimate; 0: none is known.")
    cost: CostInfo | None
    isolated: str = Field(description='Why it runs in a process of its own; "": it does not.')
    checked: bool = Field(description="A sample of its own, or a generated input, ran well.")
    opset: int | None = Field(description="Of ONNX's own operators, as its file states it.")
    ir_version: int | None = Field(description="Of the form of its file, as that states it.")
    baseline: str = Field(
        description="The file in its folder with statistics of its training data;"
        ' "": there is none that can be used.'
    )
    held_back: bool = Field(
        description="Its signature breaks callers of the version that answered: unless it is the"
        " default all the same, it answers only requests that name it; see accept."
    )
    gated: bool = Field(
        description="It is loaded, and its gates keep it from traffic: `WARMING` until their"
        " verdict, `FAILED` by one that is `NOT_BLESSED`; see bless."
    )
    verdict: VerdictInfo | None = Field(description="Of its gates; null without, and until then.")
    manifest: ManifestInfo | None = Field(default=None, description="Not in the list of models.")


_Absence = Literal["BY_COMMAND", "NOBODY_ASKED", "BY_POLICY", "NO_VERSION"]


class UnloadedInfo(Form):
    version: int
    reason: str = Field(description="What holds it back.")
    absence: _Absence | None = Field(description="The kind of reason, where it is meant so.")


class SplitInfo(Form):
    """How requests that name no version are divided."""

    weights: dict[str, int] = Field(description="Version -> weight, as it was said.")
    sticky: str = Field(description='What names the key that keeps a client; "": nothing does.')
    shadows: dict[str, float] = Field(
        description="Version -> the share of these requests of which it runs a copy, as said."
    )
    shares: dict[str, float] = Field(
        description="Version -> its part of these requests now, from 0 to 1: what would be that of"
        " a version that can't answer is the default's, and a pin has all."
    )


class ModelInfo(Form):
    name: str
    states: list[_ModelState] = Field(
        description="Which are true of it as a whole: a version answers, one is on its way, one"
        " failed (or the model can't be made out); `unloaded`: none of these."
    )
    default: int | None = Field(description="The version that answers unnamed requests.")
    reason: str = Field(description="What is wrong, or other than was asked for.")
    own_reason: str = Field(description="What of `reason` no version says of itself.")
    absence: _Absence | None = Field(
        description="Why nothing is to answer, where that is meant so: `own_reason` begins with it."
    )
    pinned: int | None = Field(description="The version that is to answer by command.")
    answered: int | None = Field(
        description="The last version that took over the unnamed requests: not the default while"
        " nothing answers, or another one stands in for it."
    )
    previous: int | None = Field(
        description="The version that answered before that one: where a rollback goes."
    )
    aliases: dict[str, int] = Field(
        description="Other names for versions. One whose version is not ready, or is to be another,"
        " is told of in `own_reason`."
    )
    split: SplitInfo | None = Field(
        description="How requests that name no version are divided; null: they are not."
    )
    held_out: bool = Field(description="Unloaded by command, until loaded by command.")
    versions: list[VersionInfo]
    unloaded: list[UnloadedInfo] = Field(description="Versions on disk that are not loaded.")


class Models(Form):
    models: list[ModelInfo] = Field(description="By name.")
    next: str | None = Field(
        description="There may be more than `limit` let pass: the `after` that goes on from here."
    )
    total: int = Field(description="Models that there are, whatever was asked for.")


class CommandAnswer(Form):
    """`done` false: the command goes on; `model` shows how far it is."""

    done: bool
    default: int | None = Field(description="The version that answers unnamed requests.")
    model: ModelInfo | None = Field(description="None: nothing of that name is known.")


class EventInfo(Form):
    at: float = Field(description="Seconds since the epoch.")
    version: int | None = Field(description="None: what was decided is of the model as a whole.")
    state: str = Field(
        description="The version's new state; or what was decided of it: `LOAD`, `UNLOAD`,"
        " `DEFAULT` (it answers unnamed requests from then on), `NO DEFAULT`, `PINNED`,"
        " `UNPINNED`, `ROLLBACK`, `ACCEPTED`, `ALIAS`, `ALIAS REMOVED`, `ROUTE`, `BLESSED`,"
        " `NOT BLESSED`."
    )
    reason: str = Field(
        description="Why: which command and from whom, what was found on disk, what failed."
    )


class History(Form):
    name: str
    events: list[EventInfo] = Field(description="Oldest first; only the last ones are kept.")
