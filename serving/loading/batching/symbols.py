"""Sizes that are not known numbers: polynomials over symbols, with integer coefficients.

One symbol, ``N``, is the number of rows that run together; every other one stands for a
number that is the same for each row and every batch of requests with equal inner dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Union

# Symbols by number; those below 0 stand for at least 1.
# Products of symbols, sorted, each with its coefficient; sorted, none of them zero.
Monomial = tuple[int, ...]
Terms = tuple[tuple[Monomial, int], ...]

_ROWS = 0
# A size with more terms than any real shape has is as good as unknown.
_MOST_TERMS = 64
# No shape has the number of rows in it more often.
_MOST_POWER = 2
# And so is one that multiplies more sizes.
_MOST_FACTORS = 64


class TooLongError(ArithmeticError):
    """The expression grew beyond what shapes need."""


@dataclass(frozen=True, slots=True, eq=False)
class Poly:
    """A polynomial that is not a plain number; those are ``int``."""

    terms: Terms
    # Of the symbols in it, those that may be negative.
    signed: frozenset[int] = frozenset()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    def __add__(self, other: Dim) -> Dim:
        return _sum(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        return _sum(self, other, -1)

    def __rsub__(self, other: Dim) -> Dim:
        return _sum(other, self, -1)

    def __neg__(self) -> Dim:
        return self * -1

    def __mul__(self, other: Dim) -> Dim:
        found: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                key = tuple(sorted(left + right))
                found[key] = found.get(key, 0) + a * b
        return _made(found, self.signed | _signed(other))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return " + ".join(_shown(monomial, factor) for monomial, factor in self.terms)


Dim = Union[int, Poly]  # noqa: UP007 - evaluated while Poly is being defined

N: Poly = Poly((((_ROWS,), 1),))


def _terms(value: Dim) -> Terms:
    return value.terms if isinstance(value, Poly) else (((), value),) if value else ()


def _signed(value: Dim) -> frozenset[int]:
    return value.signed if isinstance(value, Poly) else frozenset()


def _made(found: dict[Monomial, int], signed: frozenset[int]) -> Dim:
    terms = tuple(sorted((key, factor) for key, factor in found.items() if factor))
    if len(terms) > _MOST_TERMS or any(len(key) > _MOST_FACTORS for key, _ in terms):
        raise TooLongError
    if not terms:
        return 0
    if len(terms) == 1 and not terms[0][0]:
        return terms[0][1]
    return Poly(terms, signed)


def _sum(left: Dim, right: Dim, sign: int) -> Dim:
    found = dict(_terms(left))
    for key, factor in _terms(right):
        found[key] = found.get(key, 0) + sign * factor
    return _made(found, _signed(left) | _signed(right))


def _shown(monomial: Monomial, factor: int) -> str:
    names = ["N" if symbol == _ROWS else f"s{abs(symbol)}" for symbol in monomial]
    if not names:
        return str(factor)
    return "*".join(names if factor == 1 else [str(factor), *names])


def has_rows(value: Dim) -> bool:
    """Whether it depends on the number of rows."""
    return isinstance(value, Poly) and any(_ROWS in monomial for monomial, _ in value.terms)


def renamed(value: Dim, since: int, names: Callable[[int], Poly]) -> Dim:
    """With other symbols for those that came after the first ``since``."""
    if not isinstance(value, Poly):
        return value
    total: Dim = 0
    for monomial, factor in value.terms:
        old = tuple(symbol for symbol in monomial if symbol <= since)
        kept = _made({old: factor}, value.signed.intersection(old))
        total = total + product([names(s) for s in monomial if s > since]) * kept
    return total


def product(values: Iterable[Dim]) -> Dim:
    result: Dim = 1
    for value in values:
        result = result * value
    return result


def divide(value: Dim, divisor: Dim) -> Dim | None:
    """``value / divisor`` where that is exact for every value of the symbols, else None."""
    if isinstance(value, int) and isinstance(divisor, int):
        return value // divisor if divisor and value % divisor == 0 else None
    if divisor == 1:
        return value
    lead, factor = _leading(divisor)
    rest: Dim = value
    quotient: Dim = 0
    while factor and rest != 0:
        part = _divide_term(_leading(rest), lead, factor)
        if part is None:
            return None
        quotient, rest = quotient + part, rest - part * divisor
    signed = _signed(value) | _signed(divisor)
    return _made(dict(_terms(quotient)), signed) if factor else None


def _leading(value: Dim) -> tuple[Monomial, int]:
    """By degree, then by symbols: an order that products keep, so that a division ends."""
    return max(_terms(value), key=lambda term: (len(term[0]), term[0]), default=((), 0))


def _divide_term(term: tuple[Monomial, int], lead: Monomial, factor: int) -> Dim | None:
    monomial, number = list(term[0]), term[1]
    for symbol in lead:
        if symbol not in monomial:
            return None
        monomial.remove(symbol)
    if number % factor:
        return None
    return _made({tuple(monomial): number // factor}, frozenset())


def is_positive(value: Dim) -> bool:
    """Whether it is more than 0 for every N >= 1 and whatever sizes the symbols stand for."""
    if isinstance(value, int):
        return value > 0
    if value.signed:
        return False
    try:
        return _is_at_least_zero(_at_first(value) - 1)
    except TooLongError:
        return False


def is_negative(value: Dim) -> bool:
    return is_positive(-value)


def _at_first(value: Poly) -> Dim:
    """With N = 1 + M: what it is from one row on, M in N's place; and so for all that is at
    least 1."""
    total: Dim = 0
    for monomial, factor in value.terms:
        ones = [Poly((((symbol,), 1),)) + 1 for symbol in monomial if symbol <= _ROWS]
        others = tuple(symbol for symbol in monomial if symbol > _ROWS)
        total = total + product(ones) * _made({others: factor}, frozenset())
    return total


def _is_at_least_zero(value: Dim) -> bool:
    return all(factor >= 0 for _, factor in _terms(value))


def never_zero(value: Dim) -> bool:
    """Whether it is 0 for no N >= 1, whatever the sizes."""
    if is_positive(value) or is_negative(value):
        return True
    line = linear(value)
    if line is None:
        return False
    constant, slope = line
    root, rest = divmod(-constant, slope) if slope else (0, constant)
    return rest != 0 or (slope != 0 and root < 1)


def is_below(value: Dim, limit: int, most_rows: int) -> bool:
    """Whether its size stays below ``limit`` for every N up to ``most_rows``, the symbols'
    own sizes left aside, and it follows the square of N at most."""
    total = 0
    for monomial, factor in _terms(value):
        power = monomial.count(_ROWS)
        if power > _MOST_POWER:
            return False
        total += abs(factor) * most_rows**power
    return total < limit


def linear(value: Dim) -> tuple[int, int] | None:
    """(a, b) of a + b*N with known numbers, else None."""
    known = {(): 0, (_ROWS,): 0}
    for monomial, factor in _terms(value):
        if monomial not in known:
            return None
        known[monomial] = factor
    return known[()], known[(_ROWS,)]


@dataclass(slots=True)
class Symbols:
    """Hands out symbols; the same key gets the same one."""

    _known: dict[Hashable, Poly] = field(default_factory=dict)
    _signed: set[int] = field(default_factory=set)
    # How many stand for what nothing is known of.
    unknown: int = 0

    @property
    def count(self) -> int:
        return len(self._known)

    def of(self, key: Hashable, *, signed: bool = False, positive: bool = False) -> Poly:
        """``signed``: it may be negative, as the size of a dimension may not; ``positive``: it
        is not 0 either."""
        known = self._known.get(key)
        if known is None:
            number = len(self._known) + 1
            number = -number if positive else number
            known = Poly((((number,), 1),), frozenset({number}) if signed else frozenset())
            self._known[key] = known
            if signed:
                self._signed.add(number)
        return known

    def fresh(self, *, signed: bool = False) -> Poly:
        """Some number of which nothing else is known; by default the size of a dimension."""
        self.unknown += 1
        return self.of(("fresh", len(self._known)), signed=signed)

    def others(self, since: int) -> Callable[[Dim], Dim]:
        """Gives what is made of symbols after the first ``since`` names of its own."""
        names: dict[int, Poly] = {}

        def name(symbol: int) -> Poly:
            if symbol not in names:
                names[symbol] = self.fresh(signed=symbol in self._signed)
            return names[symbol]

        return lambda value: renamed(value, since, name)
