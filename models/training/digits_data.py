"""The handwritten digits that the bundled `digits` model is trained and measured on.

They are the 1797 images of 8x8 grey values that scikit-learn carries (the test part of the UCI set
"Optical Recognition of Handwritten Digits"). A fifth of them, drawn once with a fixed seed and
equal shares of each digit, is held out and used for nothing but the final number.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from app.types import Array

SEED = 7
HELD_OUT = 0.2
GREY_LEVELS = 16


def split() -> tuple[Array, Array, Array, Array]:
    """Training images, held-out images, training digits, held-out digits.

    Images are float32 (n, 1, 8, 8) from 0, paper, to 1, ink; digits are int64 (n,).
    """
    digits = load_digits()
    images = (digits.images / GREY_LEVELS).astype(np.float32)[:, None]
    parts = train_test_split(
        images,
        digits.target.astype(np.int64),
        test_size=HELD_OUT,
        random_state=SEED,
        stratify=digits.target,
    )
    return tuple(parts)
