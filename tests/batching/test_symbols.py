"""Arithmetic on sizes agrees with integers in the symbols' places."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.loading.batching.symbols import (
    Dim,
    N,
    Poly,
    Symbols,
    divide,
    has_rows,
    is_negative,
    is_positive,
    linear,
    never_zero,
    product,
)

_SYMBOLS = Symbols()
_SIZES = [_SYMBOLS.of("s"), _SYMBOLS.of("t")]
_SIGNED = _SYMBOLS.of("u", signed=True)
_LETTERS = [N, *_SIZES, _SIGNED]

# What stands in the place of N, of the sizes, and of what may be negative.
_PLACES = st.tuples(st.integers(1, 9), st.integers(0, 6), st.integers(0, 6), st.integers(-6, 6))


@st.composite
def _dims(draw: st.DrawFn, letters: int = 4) -> Dim:
    total: Dim = draw(st.integers(-4, 4))
    for _ in range(draw(st.integers(0, 3))):
        chosen = draw(st.lists(st.sampled_from(_LETTERS[:letters]), min_size=1, max_size=3))
        total = total + product(chosen) * draw(st.integers(-4, 4))
    return total


def _at(value: Dim, places: tuple[int, ...]) -> int:
    if isinstance(value, int):
        return value
    numbers = dict(enumerate(places))
    return sum(factor * _product(numbers, monomial) for monomial, factor in value.terms)


def _product(numbers: dict[int, int], monomial: tuple[int, ...]) -> int:
    found = 1
    for symbol in monomial:
        found *= numbers[symbol]
    return found


@given(_dims(), _dims(), _PLACES)
def test_sums_differences_and_products_are_those_of_the_numbers(
    left: Dim, right: Dim, places: tuple[int, ...]
) -> None:
    one, other = _at(left, places), _at(right, places)
    assert _at(left + right, places) == one + other
    assert _at(left - right, places) == one - other
    assert _at(left * right, places) == one * other
    assert _at(-left, places) == -one


@given(_dims(), _dims(), _PLACES)
def test_a_quotient_is_exact_or_none(left: Dim, right: Dim, places: tuple[int, ...]) -> None:
    quotient = divide(left, right)
    if quotient is not None:
        assert quotient * right == left
        assert _at(quotient, places) * _at(right, places) == _at(left, places)


@given(_dims(), _dims())
def test_what_was_multiplied_divides(left: Dim, right: Dim) -> None:
    if right != 0:
        assert divide(left * right, right) == left


@given(_dims(), _PLACES)
def test_signs_hold_for_all_numbers(value: Dim, places: tuple[int, ...]) -> None:
    number = _at(value, places)
    assert not is_positive(value) or number > 0
    assert not is_negative(value) or number < 0
    assert not never_zero(value) or number != 0


@given(st.integers(0, 5), st.integers(0, 5))
def test_more_than_nothing_is_seen(constant: int, slope: int) -> None:
    assert is_positive(N * slope + constant) == (constant + slope > 0)


@given(_dims(), _PLACES)
def test_a_line_is_one_in_the_number_of_rows(value: Dim, places: tuple[int, ...]) -> None:
    line = linear(value)
    if line is not None:
        assert _at(value, places) == line[0] + line[1] * places[0]
    assert (line is None) == (
        isinstance(value, Poly) and any(term not in ((), (0,)) for term, _ in value.terms)
    )


@given(_dims(), st.integers(1, 9), st.integers(1, 9), _PLACES)
def test_only_what_has_rows_follows_their_number(
    value: Dim, one: int, other: int, places: tuple[int, ...]
) -> None:
    if not has_rows(value):
        assert _at(value, (one, *places[1:])) == _at(value, (other, *places[1:]))


@given(_dims(), _PLACES)
def test_new_names_stand_for_later_symbols_only(value: Dim, places: tuple[int, ...]) -> None:
    symbols = Symbols()
    for key in ("s", "t"):
        symbols.of(key)
    symbols.of("u", signed=True)
    renamed = symbols.others(since=2)(value)
    assert _at(renamed, (*places, places[3])) == _at(value, places)
    assert isinstance(renamed, int) or all(3 not in monomial for monomial, _ in renamed.terms)


def test_equal_keys_are_one_symbol_and_unknown_sizes_are_each_their_own() -> None:
    symbols = Symbols()
    assert symbols.of(("input", "x", 1)) == symbols.of(("input", "x", 1))
    assert symbols.fresh() != symbols.fresh()
