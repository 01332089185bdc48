"""Tests of proportions that may be looked at after every window, and stopped whenever they say so.

Each keeps, for some alternatives, how much more likely what was seen is under it than under the
hypothesis that is to be refuted. A weighted mean of such ratios is a supermartingale of mean 1
at most while that hypothesis holds, so by Ville's inequality it reaches ``1 / alpha`` ever, at
whichever window, with probability ``alpha`` at most:

- J. Ville, Etude critique de la notion de collectif (1939), for the inequality;
- H. Robbins, Statistical methods related to the law of the iterated logarithm, Annals of
  Mathematical Statistics 41 (1970), for mixtures of likelihood ratios (the mixture SPRT);
- Y. Hao, P. Grunwald and others, E-values for k-sample tests with exponential families (2024), for
  comparing samples given their sum, so that the rate that both share need not be known and
  may change from window to window.

Pure; counts in, logarithms of ratios out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Logs = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """Of ``requests``, ``errors`` failed."""

    errors: int = 0
    requests: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.errors + other.errors, self.requests + other.requests)

    @property
    def rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


NONE_COUNTED = Counted()


def odds(canary: Counted, base: Counted, alternatives: Sequence[float], null: float) -> Logs:
    """For each of ``alternatives``, the logarithm of how much more likely it is than ``null``
    that so many of all errors are the canary's: both are ratios of the odds to fail, the canary's
    to the base's.

    Given how many requests each had and how many of all failed, the canary's errors follow Fisher's
    noncentral hypergeometric distribution. It grows with the ratio of the odds and its likelihood
    ratios are monotone: so where every alternative lies beyond ``null``, what is refuted is also
    whatever lies on the other side of it.
    """
    errors = canary.errors + base.errors
    if not (canary.requests and base.requests and errors):
        return (0.0,) * len(alternatives)
    lowest = max(0, errors - base.requests)
    weights = _log_weights(canary.requests, base.requests, errors, lowest)
    extra = np.arange(len(weights))
    more = canary.errors - lowest

    def log_likelihood(ratio: float) -> float:
        terms = weights + extra * math.log(ratio)
        most = float(terms.max())
        return more * math.log(ratio) - most - math.log(float(np.exp(terms - most).sum()))

    before = log_likelihood(null)
    return tuple(log_likelihood(ratio) - before for ratio in alternatives)


def _log_weights(canary: int, base: int, errors: int, lowest: int) -> np.ndarray:
    """Of each count of the canary's errors that is possible, how many ways there are to it, as
    logarithms relative to the first: (possible counts,)."""
    count = np.arange(lowest, min(errors, canary), dtype=np.float64)
    grows = np.log((canary - count) * (errors - count))
    shrinks = np.log((count + 1) * (base - errors + count + 1))
    return np.concatenate(([0.0], np.cumsum(grows - shrinks)))


def rate(counted: Counted, alternatives: Sequence[float], null: float) -> Logs:
    """The same for the rate itself (above 0, below 1): of a binomial count."""
    good = counted.requests - counted.errors
    return tuple(
        counted.errors * math.log(other / null) + good * math.log((1 - other) / (1 - null))
        for other in alternatives
    )


def mixed(logs: Logs, weights: Sequence[float]) -> float:
    """The logarithm of the weighted mean of the ratios; ``weights`` sum up to 1."""
    terms = [log + math.log(weight) for log, weight in zip(logs, weights, strict=True)]
    most = max(terms)
    return most + math.log(sum(math.exp(term - most) for term in terms))


def added(logs: Logs, more: Logs, most: float = math.inf) -> Logs:
    """After another window, which was seen apart from those before. ``most``: what one window may
    add, so that it never decides alone; a ratio that is cut stays below its mean."""
    return tuple(log + min(one, most) for log, one in zip(logs, more, strict=True))
