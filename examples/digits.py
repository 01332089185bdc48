"""Scikit-learn's bundled images of handwritten digits, divided for training and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 7

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Digits:
    """The images as FP32 [N, 64] with pixels 0-16, and their labels [N]."""

    train_images: Floats
    train_labels: NDArray[np.int64]
    test_images: Floats
    test_labels: NDArray[np.int64]


def digits() -> Digits:
    """Scikit-learn's digits, a quarter of them kept for the test."""
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images.astype(np.float32), labels, test_size=0.25, random_state=SEED, stratify=labels
    )
    return Digits(train_x, train_y, test_x, test_y)
