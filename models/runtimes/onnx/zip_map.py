"""Answers of ONNX's ZipMap, which classifiers that scikit-learn trained end in by default.

A sequence of maps, one a row, from class to probability (ONNX-ML operator ZipMap). They are served
as the table that they were before that operator: a row for each, a column for each class.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from app.types import Array

MAPS = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")

Key: TypeAlias = int | str
Rows: TypeAlias = Sequence[Mapping[Key, float]]


def classes_of(rows: Rows) -> tuple[Key, ...]:
    """The classes in the order of their columns: ascending, as the runtime tells them."""
    return tuple(sorted(rows[0])) if rows else ()


def as_table(rows: Rows, classes: Sequence[Key]) -> Array:
    """FP32 of shape (rows, classes). Raises KeyError for a row that lacks a class."""
    table = [[row[each] for each in classes] for row in rows]
    return np.array(table, np.float32).reshape(len(rows), len(classes))
