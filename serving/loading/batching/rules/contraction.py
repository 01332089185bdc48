"""Products of matrices: rows may stand anywhere but on what is summed over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_letters

from serving.loading.batching.call import MICROSOFT, Call, broadcast, one_size, rule
from serving.loading.batching.symbols import Dim, has_rows
from serving.loading.batching.values import Kind, Shape, Value, rows, same

SUMMED = "it sums over the rows"


@rule("MatMul")
def matmul(call: Call) -> Value:
    return product_of(call, call.input(0), call.input(1))


@rule("MatMulInteger")
@rule("MatMulInteger16", domain=MICROSOFT)
def matmul_integer(call: Call) -> Value:
    """Zero points: scalars, or one for each row of A, or column of B."""
    return with_scales(call, product_of(call, call.input(0), call.input(1)), (2, 3))


@rule("QLinearMatMul")
def quantized_matmul(call: Call) -> Value:
    """(A, scale, zero point, B, scale, zero point, Y scale, Y zero point)."""
    return with_scales(call, product_of(call, call.input(0), call.input(3)), (1, 2, 4, 5, 6, 7))


def with_scales(call: Call, made: Value, places: Iterable[int]) -> Value:
    """``made``, where scales and zero points at these places serve every row alike."""
    if made.spoilt or not made.has_rows:
        return made
    for place in places:
        value = call.input(place)
        if value.has_rows:
            return call.mixed("its scale comes from the rows")
        if call.has(place) and (value.shape is None or not _is_single(call, value, made, place)):
            return call.mixed("each row of the batch has a scale of its own")
    return made


def _is_single(call: Call, value: Value, made: Value, place: int) -> bool:
    """One scale, or several for an operand that has no rows."""
    if all(size == 1 for size in value.shape or ()):
        return True
    first = call.input(0)
    # What belongs to B: rows are on A's side.
    return place in (3, 4, 5) and first.has_rows and made.from_right > 1


def product_of(call: Call, left: Value, right: Value) -> Value:
    """``left @ right`` as NumPy's matmul: the last two axes, the others broadcast."""
    if not left.has_rows and not right.has_rows:
        return same(_product_shape(call, left.shape, right.shape))
    if left.shape is None or right.shape is None or not left.shape or not right.shape:
        return call.lost("it does not show how many dimensions an input has")
    if (left.has_rows and left.from_right == 1) or (right.has_rows and _is_contracted(right)):
        return call.mixed(SUMMED)
    shape = _product_shape(call, left.shape, right.shape)
    assert shape is not None
    return _joined(call, left, right, shape)


def _is_contracted(right: Value) -> bool:
    return right.from_right == min(2, len(right.shape or ()))


def _joined(call: Call, left: Value, right: Value, shape: Shape) -> Value:
    """Where rows come out; ``shape`` has lost the axis of a vector."""
    places = [
        _place(value, other, value is right)
        for value, other in ((left, right), (right, left))
        if value.has_rows
    ]
    if len(set(places)) > 1:
        return call.mixed("it joins rows with rows on another axis")
    place, first = places[0], left if left.has_rows else right
    if left.has_rows and right.has_rows and left.block != right.block:
        return call.lost("its inputs have different numbers of elements a row")
    spoilt = None if left.has_rows and right.has_rows else _beside(call, left, right)
    if spoilt is not None:
        return spoilt
    axis = len(shape) - place
    return rows(shape, axis, first.block)


def _place(value: Value, other: Value, is_right: bool) -> int:
    """The rows' axis in the product, from the right."""
    rank = len(value.shape or ())
    vector = len(other.shape or ()) == 1
    if is_right:
        if value.from_right == 1:
            return 1
        return value.from_right - (1 if vector else 0)
    if rank == 1:
        return 1
    return value.from_right - (1 if vector else 0)


def _beside(call: Call, left: Value, right: Value) -> Value | None:
    """What is wrong with a constant factor along the rows."""
    value, constant = (left, right) if left.has_rows else (right, left)
    place = value.from_right
    if place <= 2 or constant.shape is None or len(constant.shape) < place:
        return None
    if constant.shape[-place] == 1:
        return None
    if isinstance(constant.shape[-place], int):
        return call.mixed(f"a constant has {constant.shape[-place]} elements along the rows")
    return call.lost("it does not show that a constant has one element along the rows")


def _product_shape(call: Call, left: Shape | None, right: Shape | None) -> Shape | None:
    if left is None or right is None or not left or not right:
        return None
    outer = max(len(left), len(right)) - 2
    sizes: list[Dim] = []
    for at in range(outer + 2, 2, -1):
        there = [shape[-at] for shape in (left, right) if len(shape) >= at]
        counted = [size for size in there if has_rows(size)]
        sizes.append(counted[0] if counted else one_size(call, there))
    if len(left) > 1:
        sizes.append(left[-2])
    if len(right) > 1:
        sizes.append(right[-1])
    return tuple(sizes)


def transposed(value: Value, *, swap: bool) -> Value:
    """A matrix with its last two axes swapped."""
    if not swap or value.shape is None or len(value.shape) < 2:
        return value
    shape = (*value.shape[:-2], value.shape[-1], value.shape[-2])
    if not value.has_rows:
        return same(shape)
    rank = len(shape)
    axis = {rank - 1: rank - 2, rank - 2: rank - 1}.get(value.axis, value.axis)
    return value.rows_like(shape, axis)


@rule("Gemm")
@rule("FusedGemm", domain=MICROSOFT)
def gemm(call: Call) -> Value:
    left = transposed(call.input(0), swap=bool(call.number("transA")))
    right = transposed(call.input(1), swap=bool(call.number("transB")))
    made = product_of(call, left, right)
    if made.spoilt or not call.has(2):
        return made
    if call.input(2).has_rows and not made.has_rows:
        return call.never("it adds rows to a product made for one number of rows")
    return broadcast(call, [made, call.input(2)])


@rule("Einsum")
def einsum(call: Call) -> Value:
    """All rows must go by one letter, which the output keeps."""
    equation = call.text("equation").replace(" ", "")
    terms, arrow, output = equation.partition("->")
    inputs = terms.split(",")
    values = call.there()
    if len(inputs) != len(values) or any(value.shape is None for value in values):
        return call.lost("it does not show how many dimensions an input has")
    ranks = [len(value.shape or ()) for value in values]
    inputs, output = _written_out(inputs, output if arrow else _implied(terms), ranks)
    return _einsum(call, inputs, output, values)


def _implied(terms: str) -> str:
    """The output where none is written: what the dots stand for, then letters that come once."""
    once = sorted(letter for letter in set(terms) - set(".,") if terms.count(letter) == 1)
    return ("..." if "." in terms else "") + "".join(once)


def _written_out(inputs: Sequence[str], output: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """With letters for dots, which are aligned from the right."""
    unused = [one for one in ascii_letters if one not in "".join(inputs)]
    counts = [rank - len(term) + 3 for term, rank in zip(inputs, ranks, strict=True)]
    most = max(
        (count for term, count in zip(inputs, counts, strict=True) if "." in term), default=0
    )
    letters = "".join(unused[:most])
    written = [
        term.replace("...", letters[most - count :] if "." in term else "")
        for term, count in zip(inputs, counts, strict=True)
    ]
    return written, output.replace("...", letters)


def _einsum(call: Call, inputs: Sequence[str], output: str, values: Sequence[Value]) -> Value:
    sizes: dict[str, Dim] = {}
    letters, blocks = set(), set()
    for term, value in zip(inputs, values, strict=True):
        if value.shape is None or len(value.shape) != len(term):
            return call.lost("it does not show how many dimensions an input has")
        for letter, size in zip(term, value.shape, strict=True):
            if not has_rows(size):
                sizes[letter] = one_size(call, [sizes.get(letter, 1), size])
        if value.has_rows:
            letters.add(term[value.axis])
            blocks.add(value.block)
            if term.count(term[value.axis]) > 1:
                return call.mixed("it takes a diagonal over the rows")
    return _einsum_rows(call, inputs, output, values, sizes, letters, blocks)


def _einsum_rows(
    call: Call,
    inputs: Sequence[str],
    output: str,
    values: Sequence[Value],
    sizes: dict[str, Dim],
    letters: set[str],
    blocks: set[Dim],
) -> Value:
    shape = tuple(sizes.get(letter, 1) for letter in output)
    if not letters:
        return same(shape)
    if len(letters) > 1 or len(blocks) > 1:
        return call.mixed("it joins rows with rows on another axis")
    letter = letters.pop()
    if letter not in output:
        return call.mixed(SUMMED)
    for term, value in zip(inputs, values, strict=True):
        if letter in term and not value.has_rows and value.shape != () and sizes.get(letter) != 1:
            return call.lost("it does not show that a constant has one element along the rows")
    return rows(shape, output.index(letter), blocks.pop())


@rule("Det")
@rule("Inverse", domain=MICROSOFT)
def of_matrices(call: Call) -> Value:
    """Of the last two axes."""
    value = call.input(0)
    if value.shape is None:
        return same()
    shape = value.shape[:-2] if call.node.operator == "Det" else value.shape
    if not value.has_rows:
        return same(shape)
    if value.from_right <= 2:
        return call.mixed("it takes the rows for a side of a matrix")
    return Value(Kind.ROWS, shape, value.axis, value.block)
