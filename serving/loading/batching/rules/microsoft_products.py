"""Products of matrices as onnxruntime's optimizers write them, with quantised weights or not."""

from __future__ import annotations

from serving.loading.batching.call import MICROSOFT, Call, broadcast, rule
from serving.loading.batching.rules.contraction import SUMMED, product_of, transposed
from serving.loading.batching.rules.microsoft import no_rows, with_last
from serving.loading.batching.rules.microsoft_quantised import OWN_SCALES, all_single
from serving.loading.batching.symbols import Dim, product
from serving.loading.batching.values import Value, same


@rule("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(call: Call) -> Value:
    return product_of(call, _turned(call, "A", call.input(0)), _turned(call, "B", call.input(1)))


def _turned(call: Call, side: str, value: Value) -> Value:
    """``transBatch`` moves the first dimension before the last, then ``trans`` swaps the two."""
    if call.number(f"transBatch{side}") and value.shape is not None and len(value.shape) > 2:
        value = _first_moved(value)
    return transposed(value, swap=bool(call.number(f"trans{side}")))


def _first_moved(value: Value) -> Value:
    assert value.shape is not None
    first, *middle, last = value.shape
    order = [*range(1, len(value.shape) - 1), 0, len(value.shape) - 1]
    shape = (*middle, first, last)
    return value.rows_like(shape, order.index(value.axis)) if value.has_rows else same(shape)


@rule("MatMulIntegerToFloat", domain=MICROSOFT)
def integer_matmul(call: Call) -> Value:
    """(A, B, scales of A and B, zero points of A and B, bias)."""
    made = product_of(call, call.input(0), call.input(1))
    return _scaled(call, made, (2, 4), (3, 5), 6)


@rule("QGemm", domain=MICROSOFT)
def quantized_gemm(call: Call) -> Value:
    """(A, scale, zero point, B, scale, zero point, C, scale and zero point of what comes out)."""
    left = transposed(call.input(0), swap=bool(call.number("transA")))
    right = transposed(call.input(3), swap=bool(call.number("transB")))
    return _scaled(call, product_of(call, left, right), (1, 2, 7, 8), (4, 5), 6)


def _scaled(
    call: Call, made: Value, single: tuple[int, ...], columns: tuple[int, ...], bias: int
) -> Value:
    """``single``: scales for the whole tensor; ``columns``: those that may be one a column."""
    if made.spoilt or not made.has_rows:
        return made
    spoilt = all_single(call, *single)
    if made.from_right == 1:
        spoilt = spoilt or all_single(call, *columns)
    elif any(call.input(place).has_rows for place in columns):
        spoilt = spoilt or call.mixed(OWN_SCALES)
    if spoilt is not None:
        return spoilt
    return broadcast(call, [made, call.input(bias)]) if call.has(bias) else made


@rule("MatMulNBits", "MatMulBnb4", domain=MICROSOFT)
def packed_weights(call: Call) -> Value:
    """[..., K] -> [..., N]; what of A is rounded to 8 bits is so row by row."""
    if call.number("transB", 1) != 1:
        return call.lost("it takes its weights turned, as in training")
    return _by_weights(call, call.number("N") or call.symbols.fresh())


@rule("MatMulFpQ4", domain=MICROSOFT)
def blob_weights(call: Call) -> Value:
    """(A, weights, their shape)."""
    shape = call.input(2).numbers()
    return _by_weights(call, shape[-1] if shape else call.symbols.fresh())


def _by_weights(call: Call, wide: Dim) -> Value:
    value = call.input(0)
    spoilt = no_rows(call, *range(1, len(call.inputs)))
    if spoilt is not None or value.shape is None:
        return spoilt or same()
    if value.has_rows and value.from_right == 1:
        return call.mixed(SUMMED)
    return with_last(value, wide)


@rule("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_matmul(call: Call) -> Value:
    return call.mixed(
        "it takes one scale from all values of the batch: use static quantisation,"
        " or weights of few bits (MatMulNBits)"
    )


@rule("MoE", "QMoE", domain=MICROSOFT)
def experts(call: Call) -> Value:
    """(tokens, what the router says of each token, weights, ...): each token by itself. Tokens
    are [tokens, hidden] or [batch, sequence, hidden], the router's always [tokens, experts]."""
    value, router = call.input(0), call.input(1)
    weights = {14} if call.node.operator == "QMoE" else set()
    spoilt = no_rows(call, *(set(range(2, len(call.inputs))) - weights))
    if spoilt is not None or value.shape is None:
        return spoilt or same()
    if not value.has_rows or value.axis != 0 or len(value.shape) not in (2, 3):
        return call.mixed("it takes the rows for something else than a batch")
    tokens = value.block * product(value.shape[1:-1])
    for one in (router, *(call.input(place) for place in weights if call.has(place))):
        if not one.has_rows or one.axis != 0 or one.block != tokens:
            return call.lost("it does not show that each token has a line of the router's")
    return value.rows_like(value.shape, 0)
