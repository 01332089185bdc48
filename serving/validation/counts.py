"""What chance alone may do to a share or a distance: enough was counted, or too little.

A window of 30 requests differs from the training data whatever it is drawn from. So a figure
counts as above its threshold only where what chance may add to it, but for ``chance`` (the
probability of a false alarm), leaves it there. Each sample is taken for independent examples
out of one distribution. Pure.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from serving.validation.distances import Floats

# Of a false alarm, for all of a window's features together.
CHANCE = 0.001
# Quantiles' ranks, of which nothing else is known, are within this of all, 99 times of 100.
RANK_ERROR = 0.0133
_HALVINGS = 50


def effective(count: float, rank_error: float) -> float:
    """How many examples ``count`` are worth once a sketch has them, whose ranks are within
    ``rank_error`` of all, 99 times of 100: as many as have a median so uncertain in all."""
    spread = rank_error / NormalDist().inv_cdf(0.995)
    return count / (1 + count * 4 * spread**2)


def chi_square_limit(freedom: int, chance: float) -> float:
    """What a chi-squared number with ``freedom`` degrees exceeds with the probability ``chance``,
    by Wilson and Hilferty's approximation: within 3 % for chances down to 0.001, and on the safe
    side for smaller ones."""
    if freedom < 1:
        return 0.0
    if freedom == 1:
        return NormalDist().inv_cdf(1 - chance / 2) ** 2
    part = 2 / (9 * freedom)
    root = 1 - part + NormalDist().inv_cdf(1 - chance) * math.sqrt(part)
    return freedom * root**3


def divergence_noise(cells: int, count: float, other: float, chance: float) -> float:
    """What the Jensen-Shannon divergence (bits) of two samples of one distribution over ``cells``
    exceeds with the probability ``chance``.

    Twice a sample's size times its Kullback-Leibler divergence (nats) from where it is drawn is
    chi-squared, with one degree less than cells; Jensen and Shannon's in bits is at most half
    of that divergence. Two samples' noises add up, as variances do.
    """
    if count <= 0 or other <= 0:
        return math.inf
    return chi_square_limit(cells - 1, chance) * (1 / count + 1 / other) / 4


def least_divergence(distance: float, noise: float) -> float:
    """What of ``distance`` chance does not explain. The root of the divergence is a metric: by
    the triangle's inequality, roots are what is added up."""
    return max(math.sqrt(distance) - math.sqrt(noise), 0.0) ** 2


def share_limits(shares: Floats, count: float, chance: float) -> tuple[Floats, Floats]:
    """Limits of the true shares that were counted as ``shares`` of ``count`` (float64 of any
    shape), each wrong with at most the probability ``chance``: Chernoff's, which hold for rare
    values and few examples, too."""
    bits = -math.log(chance) / count
    low, high = np.zeros_like(shares), np.ones_like(shares)
    below, above = shares.copy(), shares.copy()
    for _ in range(_HALVINGS):
        middle = (low + below) / 2
        far = _entropy(shares, middle) > bits
        low, below = np.where(far, middle, low), np.where(far, below, middle)
        middle = (above + high) / 2
        far = _entropy(shares, middle) > bits
        above, high = np.where(far, above, middle), np.where(far, middle, high)
    return low, high


def difference_noise(
    shares: Floats, count: float, others: Floats, other: float, chance: float
) -> Floats:
    """What chance may add to the differences of ``shares`` (of ``count`` examples) and ``others``
    (of ``other``); float64 of shape [values] each, and all of them together wrong with the
    probability ``chance``. Limits of both are joined as Newcombe does it (his method 10)."""
    each = chance / (2 * max(len(shares), 1))
    low, high = share_limits(shares, count, each)
    other_low, other_high = share_limits(others, other, each)
    more = np.hypot(shares - low, other_high - others)
    less = np.hypot(others - other_low, high - shares)
    return np.where(shares >= others, more, less)


def _entropy(p: Floats, q: Floats) -> Floats:
    """Kullback and Leibler's divergence (nats) of yes-or-no with the probabilities ``p``, ``q``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        yes = np.where(p > 0, p * np.log(p / q), 0.0)
        no = np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - q)), 0.0)
    return np.asarray(yes + no)
