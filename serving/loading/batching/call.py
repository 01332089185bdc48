"""One node met by the analysis, and the rules for its operator.

A rule is a function from a ``Call`` to what is known of the node's outputs. It may count on
none of the inputs being spoilt, and on those of kinds ``COUNT``, ``PLACE`` and ``PLACE_FIRST``
only standing where it said it takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from serving.execution.onnx_constants import Constant
from serving.execution.onnx_nodes import Graph, Node
from serving.loading.batching.symbols import Dim, Symbols
from serving.loading.batching.values import Blame, Kind, Shape, Value, same

if TYPE_CHECKING:
    from serving._core import Texts

Result = Value | Sequence[Value]

COUNTED = "the answer depends on how many rows run"
PLACED = "the answer depends on a row's place among the others"
FILLED = "rows are filled up to the longest of the batch"


class UntoldError(ValueError):
    """The rules can't tell what is there. Its text says why."""


@dataclass(slots=True)
class Scope:
    """Values by name, those of the graphs around included."""

    values: dict[str, Value] = field(default_factory=dict)
    outer: Scope | None = None

    def find(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            value = scope.values.get(name)
            if value is not None:
                return value
            scope = scope.outer
        return None


class Analyser(Protocol):
    """What a rule may ask of the analysis around it. ``most_rows``: of any run; ``narrowed``:
    whether a size was cast to int32."""

    symbols: Symbols
    most_rows: int
    narrowed: bool

    def body(self, graph: Graph, inputs: Sequence[Value], outer: Scope) -> list[Value]:
        """What a graph inside a node makes of these inputs."""

    def spend(self, elements: int) -> None:
        """Count what known contents cost. Raises TooManyError once that is more than enough."""


@dataclass(slots=True)
class Call:
    """``inputs``: None for those left out. ``opset``: the version in force of the operator's
    domain. ``given``: the attributes of the function around it."""

    node: Node
    inputs: list[Value | None]
    opset: int
    interpreter: Analyser
    scope: Scope
    given: Node | None = None

    @property
    def symbols(self) -> Symbols:
        return self.interpreter.symbols

    # Inputs.

    def has(self, place: int) -> bool:
        return place < len(self.inputs) and self.inputs[place] is not None

    def input(self, place: int) -> Value:
        """The input at ``place``; one that was left out is the same everywhere."""
        value = self.inputs[place] if place < len(self.inputs) else None
        return same() if value is None else value

    def there(self) -> list[Value]:
        return [value for value in self.inputs if value is not None]

    # Attributes.

    def _source(self, name: str) -> tuple[Node, str]:
        reference = self.node.references.get(name)
        if reference is None:
            return self.node, name
        return self.given or Node("", "", [], []), reference

    def number(self, name: str, default: int = 0) -> int:
        node, name = self._source(name)
        return node.numbers.get(name, default)

    def real(self, name: str, default: float = 0.0) -> float:
        node, name = self._source(name)
        return node.floats.get(name, default)

    def text(self, name: str, default: str = "") -> str:
        node, name = self._source(name)
        return node.texts.get(name, default)

    def tensor(self, name: str) -> Constant | None:
        node, name = self._source(name)
        return node.tensors.get(name)

    def integers(self, name: str) -> list[int] | None:
        """A list of integers, None where it is not given. Raises UntoldError where it is, and
        what it holds is not known."""
        constant = self.tensor(name)
        if constant is None and not self.has_attribute(name):
            return None
        if constant is None or constant.values is None:
            raise UntoldError(f"its attribute '{name}' is no list of integers, or a very long one")
        return list(constant.values)

    def texts(self, name: str) -> Texts | None:
        """A list of texts, None where it is not given."""
        node, name = self._source(name)
        return node.text_lists.get(name)

    def has_attribute(self, name: str) -> bool:
        node, name = self._source(name)
        parts = (node.numbers, node.floats, node.texts, node.tensors, node.graphs)
        more = (node.text_lists, node.others)
        return any(name in part for part in (*parts, *more))

    def body(self, name: str) -> Graph | None:
        return self.node.graphs.get(name)

    # What comes out.

    def mixed(self, why: str) -> Value:
        """Rows influence each other here."""
        return self._spoilt(Kind.MIXED, why)

    def lost(self, why: str) -> Value:
        """The rules can't tell what becomes of the rows."""
        return self._spoilt(Kind.LOST, why)

    def never(self, why: str) -> Value:
        """The rows do not come out as they went in, even of one request alone."""
        return self._spoilt(Kind.NEVER, why)

    def _spoilt(self, kind: Kind, why: str) -> Value:
        return Value(kind, blame=Blame(self.name, self.node.operator, why))

    @property
    def name(self) -> str:
        """The node's own name, or that of what it makes."""
        outputs = (output for output in self.node.outputs if output)
        return self.node.name or f"of '{next(outputs, '')}'"


Rule = Callable[[Call], Result]


@dataclass(frozen=True, slots=True)
class Known:
    """A rule, and the places of inputs that may be counts and row numbers (-1: all), and
    whether its first may be padded."""

    rule: Rule
    counts: frozenset[int] = frozenset()
    places: frozenset[int] = frozenset()
    # Its outputs are the same where its inputs are, whatever the rule makes of them.
    pure: bool = True
    padded: bool = False

    def takes_count(self, place: int) -> bool:
        return -1 in self.counts or place in self.counts

    def takes_place(self, place: int) -> bool:
        return -1 in self.places or place in self.places


ALL = (-1,)

RULES: dict[tuple[str, str], Known] = {}
# Operators without a rule, and why.
REASONS: dict[tuple[str, str], str] = {}

DEFAULT, ML, MICROSOFT = "", "ai.onnx.ml", "com.microsoft"


def rule(
    *operators: str,
    domain: str = DEFAULT,
    counts: Iterable[int] = (),
    places: Iterable[int] = (),
    pure: bool = True,
    padded: bool = False,
) -> Callable[[Rule], Rule]:
    """Make a function the rule of these operators."""

    def add(function: Rule) -> Rule:
        known = Known(function, frozenset(counts), frozenset(places), pure, padded)
        RULES.update(dict.fromkeys(((domain, operator) for operator in operators), known))
        return function

    return add


def without_rule(why: str, *operators: str, domain: str = DEFAULT) -> None:
    """Say why these operators have none."""
    REASONS.update(dict.fromkeys(((domain, operator) for operator in operators), why))


def only_rows(values: Iterable[Value]) -> list[Value]:
    return [value for value in values if value.has_rows]


def normal(axis: int, rank: int) -> int | None:
    """An axis counted from the left, None where there is no such one."""
    at = axis + rank if axis < 0 else axis
    return at if 0 <= at < rank else None


def one_size(call: Call, sizes: Sequence[Dim]) -> Dim:
    """What dimensions that are broadcast against each other become."""
    rest = {size for size in sizes if size != 1}
    if len(rest) <= 1:
        return next(iter(rest), 1)
    numbers = sorted(size for size in rest if isinstance(size, int))
    # The others are 1 or equal to it, or onnxruntime refuses them.
    return numbers[0] if numbers else call.symbols.of(("broadcast", frozenset(rest)))


def broadcast(call: Call, values: Sequence[Value]) -> Value:
    """What an operator makes that works element by element, with NumPy's broadcasting."""
    with_rows = only_rows(values)
    if not with_rows:
        return same(_broadcast_shape(call, values))
    place, block = with_rows[0].from_right, with_rows[0].block
    if any(value.from_right != place for value in with_rows):
        return call.mixed("it joins rows with rows on another axis")
    if any(value.block != block for value in with_rows):
        return call.lost("its inputs have different numbers of elements a row")
    for value in values:
        spoilt = None if value.has_rows else _against_rows(call, value, place)
        if spoilt is not None:
            return spoilt
    shape = _broadcast_shape(call, values, place)
    if shape is None:
        return call.lost("it does not show how many dimensions an input has")
    axis = len(shape) - place
    whole = (*shape[:axis], with_rows[0].shape[with_rows[0].axis], *shape[axis + 1 :])  # type: ignore[index]  # rows have a shape
    return Value(Kind.ROWS, whole, axis, block)


def _against_rows(call: Call, value: Value, place: int) -> Value | None:
    """What is wrong with a value that is the same everywhere, beside rows at ``place``."""
    if value.shape is None:
        return call.lost("it does not show how many dimensions an input has")
    if len(value.shape) < place or value.shape[-place] == 1:
        return None
    if isinstance(value.shape[-place], int):
        return call.mixed(f"a constant has {value.shape[-place]} elements along the rows")
    return call.lost("it does not show that a constant has one element along the rows")


def _broadcast_shape(call: Call, values: Sequence[Value], place: int = 0) -> Shape | None:
    """``place``: the axis from the right that rows stand on, and that doesn't matter here."""
    shapes = [value.shape for value in values]
    if any(shape is None for shape in shapes):
        return None
    whole = [shape for shape in shapes if shape is not None]
    rank = max(map(len, whole), default=0)
    return tuple(
        1 if at == place else one_size(call, [s[-at] for s in whole if len(s) >= at])
        for at in range(rank, 0, -1)
    )


def constant_of(constant: Constant) -> Value:
    """A constant of the model, with what it holds where that is little."""
    shape = tuple(constant.dims)
    if constant.elem_type not in FOLLOWED:
        return same(shape)
    return same(shape, constant.floats if constant.values is None else constant.values)


# int32, int64, bool, float, double. Arithmetic on narrower integers wraps, and on narrower
# floats rounds, where ours does not.
FOLLOWED = frozenset({1, 6, 7, 9, 11})
