"""Goes through a graph in its order and keeps what is known of every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from serving.execution.onnx_nodes import Graph, Model, Node
from serving.loading.batching import rules
from serving.loading.batching.call import (
    COUNTED,
    FILLED,
    PLACED,
    REASONS,
    RULES,
    Call,
    Known,
    Scope,
    UntoldError,
    constant_of,
)
from serving.loading.batching.symbols import Symbols, TooLongError, has_rows
from serving.loading.batching.values import Blame, Kind, TooManyError, Value, same

# Functions of functions can make a small file a large graph.
MOST_VISITS = 200_000
# Elements of known contents carried from node to node, and ``STEP`` times those calculated.
MOST_SPENT = 10_000_000
_COUNTED = 8
# Times that, where a function's contents are found again and put in other words.
_CALLED = 20
OLDEST_OPSET = 7
_MOST_DEPTH = 64
# Which of several spoilt inputs tells.
_WORST = (Kind.NEVER, Kind.MIXED, Kind.LOST)

rules.load()


@dataclass(slots=True)
class Frame:
    """Where a graph stands: its operator sets, and the attributes of the function around."""

    opsets: Mapping[str, int]
    given: Node | None = None
    depth: int = 0
    # Inputs of the function around that its call leaves out.
    left_out: frozenset[str] = frozenset()


class Interpreter:
    """One analysis of one model.

    ``most_rows``: of any run. ``lost``: of the main graph's nodes where the rules lost the
    rows, what they make. ``surprises``: where a rule met what it did not expect.
    """

    def __init__(self, model: Model, most_rows: int) -> None:
        self.model = model
        self.most_rows = most_rows
        self.symbols = Symbols()
        self.lost: list[str] = []
        self.surprises: list[str] = []
        # Whether a size was cast to int32, so that later ones may be of that type.
        self.narrowed = False
        self._visits = 0
        self._unclear: dict[int, bool] = {}
        self._spent = 0
        self._frames: list[Frame] = [Frame(model.opsets)]
        # What functions made of their arguments, and how many symbols there were before.
        self._functions: dict[tuple[object, ...], tuple[tuple[Value, ...], int]] = {}

    @property
    def frame(self) -> Frame:
        return self._frames[-1]

    def run(self, graph: Graph, scope: Scope) -> None:
        """Fill ``scope`` with everything that the graph makes."""
        for name, constant in graph.constants.items():
            if name not in scope.values:
                scope.values[name] = constant_of(constant)
        unclear = self._is_unclear(graph)
        for node in graph.nodes:
            if unclear:
                lost = _lost(node, "a name in its graph is given to more than one value")
                scope.values.update(dict.fromkeys(filter(None, node.outputs), lost))
            else:
                self._node(node, scope)

    def _is_unclear(self, graph: Graph) -> bool:
        """Whether two values have one name: which of them is meant, onnxruntime decides."""
        if id(graph) not in self._unclear:
            made = [name for node in graph.nodes for name in node.outputs if name]
            once = {*graph.inputs, *graph.constants}
            clear = once.isdisjoint(made) and len(set(made)) == len(made)
            self._unclear[id(graph)] = bool(graph.repeated) or not clear
        return self._unclear[id(graph)]

    def spend(self, elements: int) -> None:
        """Count what known contents cost. Raises TooManyError once that is more than enough."""
        self._spent += elements
        if elements and self._spent > MOST_SPENT:
            raise TooManyError

    def body(self, graph: Graph, inputs: Sequence[Value], outer: Scope) -> list[Value]:
        """What a graph inside a node makes of these inputs."""
        scope = Scope(dict(zip(graph.inputs, inputs, strict=False)), outer)
        self._frames.append(replace(self.frame, depth=self.frame.depth + 1))
        try:
            self.run(graph, scope)
        finally:
            self._frames.pop()
        return [_found(scope, name, graph.nodes) for name in graph.outputs]

    def _node(self, node: Node, scope: Scope) -> None:
        left_out = self.frame.left_out
        inputs = [
            _found(scope, name, [node]) if name and name not in left_out else None
            for name in node.inputs
        ]
        results = self._results(node, inputs, scope)
        lost = any(value.kind is Kind.LOST for value in results)
        if lost and self.frame.depth == 0 and _worst(inputs) is None:
            self.lost += [name for name in node.outputs if name]
        for place, name in enumerate(node.outputs):
            if name:
                scope.values[name] = results[min(place, len(results) - 1)]

    def _results(self, node: Node, inputs: list[Value | None], scope: Scope) -> Sequence[Value]:
        self._visits += 1
        domain, opset = node.domain, self.frame.opsets.get(node.domain, 1)
        call = Call(node, inputs, opset, self, scope, self.frame.given)
        if self._visits > MOST_VISITS or self.frame.depth > _MOST_DEPTH:
            return [call.lost(f"the graph has more than {MOST_VISITS:,} nodes")]
        spoilt = _worst(inputs)
        if spoilt is not None:
            return [spoilt]
        try:
            self.spend(sum(map(_weight, inputs)))
            return self._made(call, (domain, node.operator))
        except TooLongError:
            return [call.lost("the sizes of its outputs are too involved")]
        except UntoldError as error:
            return [call.lost(str(error))]
        except (TooManyError, MemoryError):
            return [call.lost("it calculates with too many numbers")]
        except (ArithmeticError, LookupError, TypeError, ValueError, AssertionError) as error:
            # A file may hold anything; nothing is claimed of what a rule did not expect.
            self.surprises.append(f"{call.name} ({node.operator}): {error!r}")
            return [call.lost("its inputs or attributes are not as its specification has them")]

    def _made(self, call: Call, key: tuple[str, str]) -> Sequence[Value]:
        """What a function of the model, or the operator's rule, makes of it."""
        if call.node.references and self.frame.given is None:
            return [call.lost("it refers to an attribute of a function, and stands in none")]
        function = self.model.functions.get(key)
        if function is not None and (key in RULES or key in REASONS):
            return [call.lost("a function has the name of an operator of onnxruntime's")]
        if function is not None:
            return self._function(function, call)
        if not key[0] and call.opset < OLDEST_OPSET:
            return [call.lost(f"there are no rules for opset {call.opset}")]
        return self._apply(call, RULES.get(key), key[0])

    def _apply(self, call: Call, known: Known | None, domain: str) -> Sequence[Value]:
        pure = known is None or known.pure
        unchanged = pure and all(value.kind is Kind.SAME for value in call.there())
        if known is None:
            reason = REASONS.get((domain, call.node.operator))
            # What is not known at all may draw at random.
            if unchanged and reason is not None and not call.node.graphs:
                return [same()]
            return [call.lost(reason or "there is no rule for it")]
        for place, value in enumerate(call.inputs):
            if value is None:
                continue
            if value.kind is Kind.COUNT and not known.takes_count(place):
                return [call.mixed(COUNTED)]
            if value.kind in (Kind.PLACE, Kind.PLACE_FIRST) and not known.takes_place(place):
                return [call.mixed(PLACED)]
            if value.kind is Kind.PADDED and not known.padded:
                return [call.mixed(FILLED)]
        made = known.rule(call)
        results = [made] if isinstance(made, Value) else list(made)
        return [self._checked(call, value, known.pure, unchanged) for value in results]

    def _checked(self, call: Call, value: Value, pure: bool, unchanged: bool) -> Value:
        """A value that keeps to what its kind claims."""
        if unchanged and value.kind in (Kind.LOST, Kind.NEVER, Kind.MIXED):
            return same()
        if pure and not unchanged and value.kind is Kind.SAME and value.data is None:
            return call.lost("it does not show what rows do to something the same for all")
        if has_rows(value.block):
            return call.mixed("a dimension follows the square of the number of rows")
        if value.kind is not Kind.COUNT and _strays(value):
            return call.mixed("a dimension follows the number of rows")
        return value

    def _function(self, body: Graph, call: Call) -> Sequence[Value]:
        if self._differs(body):
            # onnxruntime may take either for what it puts in the call's place.
            return [call.lost("it is a function of other versions of its operators")]
        given = _given(call, body)
        inputs = tuple(call.inputs)
        # 1, 1.0 and True are equal, and are not the same.
        types = tuple(
            tuple(map(type, value.data)) if value and value.data else () for value in inputs
        )
        key = (id(body), inputs, types, _frozen(given), self.narrowed)
        if key in self._functions:
            known, since = self._functions[key]
            self.spend(_CALLED * sum(map(_weight, (*inputs, *known))))
            others = self.symbols.others(since)
            return [_inside(value.with_sizes(others), call) for value in known]
        since, unknown = self.symbols.count, self.symbols.unknown
        known = self._function_made(body, inputs, given)
        # What the arguments don't tell may differ from call to call.
        since = since if self.symbols.unknown > unknown else self.symbols.count
        self._functions[key] = known, since
        return [_inside(value, call) for value in known]

    def _differs(self, body: Graph) -> bool:
        """Whether a function states other versions than the model, of operators it uses."""
        ours = self.model.opsets
        other = {domain for domain, opset in body.opsets.items() if ours.get(domain) != opset}
        return bool(other) and not other.isdisjoint(_domains(body))

    def _function_made(
        self, body: Graph, inputs: Sequence[Value | None], given: Node
    ) -> tuple[Value, ...]:
        opsets = body.opsets or self.frame.opsets
        there = {name for name, value in zip(body.inputs, inputs, strict=False) if value}
        left_out = frozenset(body.inputs) - there
        self._frames.append(Frame(opsets, given, self.frame.depth + 1, left_out))
        try:
            pairs = zip(body.inputs, inputs, strict=False)
            scope = Scope({name: value for name, value in pairs if value is not None})
            self.run(body, scope)
        finally:
            self._frames.pop()
        return tuple(_found(scope, name, body.nodes) for name in body.outputs)


def _weight(value: Value | None) -> int:
    """What carrying a value's known contents costs: polynomials more than plain numbers."""
    if value is None or not value.data:
        return 0
    return len(value.data) * (_COUNTED if value.kind is Kind.COUNT else 1)


def _strays(value: Value) -> bool:
    """Whether the number of rows shows in another dimension than theirs."""
    axis = value.axis if (value.has_rows or value.kind is Kind.PADDED) else -1
    for at, size in enumerate(value.shape or ()):
        if not isinstance(size, int) and at != axis and has_rows(size):
            return True
    return False


def _found(scope: Scope, name: str, nodes: Sequence[Node]) -> Value:
    value = scope.find(name)
    if value is None:
        operator = nodes[-1].operator if nodes else ""
        return Value(Kind.LOST, blame=Blame(name, operator, f"nothing before it makes '{name}'"))
    return value


def _lost(node: Node, why: str) -> Value:
    name = node.name or f"of '{next(filter(None, node.outputs), '')}'"
    return Value(Kind.LOST, blame=Blame(name, node.operator, why))


def _inside(value: Value, call: Call) -> Value:
    """Blame the function's call: its insides have no name that a user knows."""
    if value.blame is None:
        return value
    why = f"{value.blame.operator} in it: {value.blame.why}"
    return replace(value, blame=Blame(call.name, call.node.operator, why))


def _worst(inputs: Sequence[Value | None]) -> Value | None:
    for kind in _WORST:
        for value in inputs:
            if value is not None and value.kind is kind:
                return value
    return None


def _domains(graph: Graph) -> Iterator[str]:
    """Those of its nodes, bodies of nodes included."""
    for node in graph.nodes:
        yield node.domain
        for inner in node.graphs.values():
            yield from _domains(inner)


def _given(call: Call, body: Graph) -> Node:
    """The attributes of a function's call, defaults included, references followed."""
    given = Node("", "", [], [])
    defaults = body.defaults or given
    for source in (defaults, call.node):
        given.numbers.update(source.numbers)
        given.floats.update(source.floats)
        given.texts.update(source.texts)
        given.tensors.update(source.tensors)
        given.graphs.update(source.graphs)
        given.text_lists.update(source.text_lists)
        given.others.update(source.others)
    outer = call.given or Node("", "", [], [])
    for name, reference in call.node.references.items():
        _copy(outer, reference, given, name)
    return given


def _copy(source: Node, reference: str, target: Node, name: str) -> None:
    """One attribute, of whatever type it is."""
    if reference in source.numbers:
        target.numbers[name] = source.numbers[reference]
    if reference in source.floats:
        target.floats[name] = source.floats[reference]
    if reference in source.texts:
        target.texts[name] = source.texts[reference]
    if reference in source.tensors:
        target.tensors[name] = source.tensors[reference]
    if reference in source.graphs:
        target.graphs[name] = source.graphs[reference]
    if reference in source.text_lists:
        target.text_lists[name] = source.text_lists[reference]
    if reference in source.others:
        target.others.add(name)


def _frozen(given: Node) -> tuple[object, ...]:
    """Attributes as a key: equal ones make equal keys."""
    tensors = ((n, c.elem_type, c.dims, c.values, c.floats) for n, c in given.tensors.items())
    return (
        tuple(sorted(given.numbers.items())),
        tuple(sorted(given.floats.items())),
        tuple(sorted(given.texts.items())),
        tuple(sorted(tensors, key=lambda t: t[0])),
        tuple(sorted((name, id(graph)) for name, graph in given.graphs.items())),
        tuple(sorted((name, id(texts)) for name, texts in given.text_lists.items())),
        tuple(sorted(given.others)),
    )
