"""What a rehearsal found out about a version, and the same as plain JSON values.

Findings cross from the trial's child and outlive the process, so whatever is read back is
checked: nothing in it is believed that does not have the right form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from serving.errors import LoadError, Retry
from serving.loading.batching.analysis import Analysis, Verdict
from serving.loading.batching.cost import CostCurve, curve
from serving.loading.batching.verdict import NO_EVIDENCE, Evidence
from serving.loading.inputs.generated import STYLES, Plan
from serving.signature import Signature
from serving.strict import MOST, Count, Few, Strict, Text, as_text


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the inputs that ran were made: by a plan, or out of the user's samples.

    ``names``: the inputs given; ``sizes``: (input, axis, size); ``style``: its place among
    ``STYLES``.
    """

    kind: Literal["generated", "sampled"]
    names: tuple[str, ...] = ()
    sizes: tuple[tuple[str, int, int], ...] = ()
    style: int = 0
    by_rows: bool = False

    @classmethod
    def of(cls, plan: Plan) -> Recipe:
        sizes = tuple((name, axis, size) for (name, axis), size in plan.sizes.items())
        names = tuple(tensor.name for tensor in plan.inputs)
        return cls("generated", names, sizes, STYLES.index(plan.style), plan.by_rows)

    def plan(self, signature: Signature) -> Plan | None:
        """The plan again; None where it is another signature's."""
        inputs = tuple(tensor for tensor in signature.inputs if tensor.name in self.names)
        sizes = {(name, axis): size for name, axis, size in self.sizes}
        free = {
            (tensor.name, axis)
            for tensor in inputs
            for axis, dim in enumerate(tensor.shape)
            if dim < 0 and not (self.by_rows and axis == 0)
        }
        if len(inputs) != len(self.names) or not free <= sizes.keys():
            return None
        return Plan(inputs, sizes, STYLES[self.style], self.by_rows)


@dataclass(frozen=True, slots=True)
class Findings:
    """``analysis``: what the graph says of rows that share a run, ``evidence``: what running
    them showed. ``seconds``: rows -> the best time of a run; ``recipe``: of the inputs it ran on;
    ``memory_bytes``: what the process grew by (0: unknown), ``loaded_bytes``: by the load and
    the user's samples alone; ``died``: how the trial ended on
    generated input (``SIGFPE``), '' when it lived; ``divides``: requests decide what it divides
    integers by, which may end a process; ``grows``: where what it makes follows requests' values,
    '' for nowhere; ``short``: memory cut it short, so that with more it may find out more;
    ``one_thread``: whatever a request brings, a run is the work of one thread (see
    ``loading/threads.py``), as only a trial's child can tell."""

    analysis: Analysis
    evidence: Evidence = NO_EVIDENCE
    notes: tuple[str, ...] = ()
    seconds: Mapping[int, float] = field(default_factory=dict)
    recipe: Recipe | None = None
    memory_bytes: int = 0
    loaded_bytes: int = 0
    died: str = ""
    divides: bool = False
    grows: str = ""
    short: bool = False
    one_thread: bool = False

    @property
    def lasts(self) -> bool:
        """Whether another trial would end the same way: nobody but the kernel or an operator
        sends SIGKILL, for reasons of the moment."""
        return self.died != "SIGKILL"

    @property
    def cost(self) -> CostCurve | None:
        return curve(self.seconds)

    def plan(self, signature: Signature) -> Plan | None:
        """How to make the generated input that ran; None where none did."""
        if self.died or self.recipe is None or self.recipe.kind != "generated":
            return None
        return self.recipe.plan(signature)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version cannot be served; another try at once would end the same way, unless it
    had more memory (``for_memory``)."""

    reason: str
    detail: str = ""
    for_memory: bool = False
    retry: Retry = Retry.NEVER

    def error(self) -> LoadError:
        return LoadError(self.reason, self.detail, self.retry)


def to_plain(findings: Findings) -> dict[str, Any]:
    recipe = findings.recipe
    return {
        "analysis": _analysis_to_plain(findings.analysis),
        "evidence": {key: as_text(value) for key, value in asdict(findings.evidence).items()},
        "notes": [as_text(note) for note in findings.notes],
        "seconds": [[rows, time] for rows, time in sorted(findings.seconds.items())],
        "recipe": None
        if recipe is None
        else {
            "kind": recipe.kind,
            "names": list(recipe.names),
            "sizes": [list(size) for size in recipe.sizes],
            "style": recipe.style,
            "by_rows": recipe.by_rows,
        },
        "memory_bytes": findings.memory_bytes,
        "loaded_bytes": findings.loaded_bytes,
        "died": findings.died,
        "divides": findings.divides,
        "grows": findings.grows,
        "short": findings.short,
        "one_thread": findings.one_thread,
    }


def _analysis_to_plain(analysis: Analysis) -> dict[str, Any]:
    plain = asdict(analysis)
    shown = {key: as_text(str(value)) for key, value in plain.items() if key != "lost"}
    return {**shown, "lost": list(analysis.lost[:MOST])}


class _Analysis(Strict):
    kind: Verdict
    output: Text
    node: Text
    operator: Text
    why: Text
    lost: Few[Text]


class _Evidence(Strict):
    disproved: Text
    unknown: Text
    rounding: Text


class _Recipe(Strict):
    kind: Literal["generated", "sampled"]
    names: Few[Text]
    sizes: Few[Annotated[tuple[Text, Count, Count], Field(strict=False)]]
    style: Annotated[int, Field(ge=0, lt=len(STYLES))]
    by_rows: bool


_Seconds = Annotated[float, Field(ge=0, lt=1e9)]


class _Findings(Strict):
    analysis: _Analysis
    evidence: _Evidence
    notes: Few[Text]
    seconds: Few[Annotated[tuple[Count, _Seconds], Field(strict=False)]]
    recipe: _Recipe | None
    memory_bytes: Count
    loaded_bytes: Count
    died: Text
    divides: bool
    grows: Text
    short: bool
    one_thread: bool


def from_plain(plain: object) -> Findings:
    """Raises ValueError for anything that ``to_plain`` cannot have made."""
    read = _Findings.read(plain, "what a trial found out")
    made = {
        "analysis": Analysis(**dict(read.analysis)),
        "evidence": Evidence(**dict(read.evidence)),
        "seconds": dict(read.seconds),
        "recipe": None if read.recipe is None else Recipe(**dict(read.recipe)),
    }
    return Findings(**{**dict(read), **made})
