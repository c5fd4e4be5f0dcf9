"""Whether the rows of a batch are independent, found out by running some alone and then together.

A model may read its first dimension as time, as samples or as tokens, subtract a mean over it, or
choose the scale of a quantisation by all that it is given. Requests that were stacked would then be
answered with one another's data, and nothing would tell. So rows are run alone, and again in
batches of several orders and sizes, one of them a thousand times larger than the others, which
shows in whatever is shared.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from app.errors import MantaError
from app.formats.datatypes import bf16_to_float32, dtype_of, float32_to_bf16
from app.interfaces import Model
from app.types import Array, Arrays, TensorSpec

MOST_RUNS = 20
SECONDS = 1.0
"""No further batch is tried after so long; the first two are tried whatever they take."""

LARGE = 1000.0

_SEED = 7
_LARGE_ROW = 1
_ROWS = 4
_ORDERS = ((1, 0), (0, 1), (2, 1, 3, 0), (0, 2), (3, 2, 0), (0, 1, 2, 3, 0, 1, 2, 3))
_FEWEST_ORDERS = 2

# Of the largest value of the row alone. A batch of another size is added up in another order, and
# deep networks carry the difference on; what is shared among rows is of the order of the values.
_TOLERANCE = {"FP16": 2e-2, "BF16": 5e-2, "FP32": 1e-3, "FP64": 1e-6}
_NOTHING = {"FP16": 1e-3, "BF16": 1e-2, "FP32": 1e-5, "FP64": 1e-9}


class NotStacked(MantaError):
    """Requests must not be the rows of one batch; the message says what was seen."""


class NotProbed(MantaError):
    """It could not be found out; the message says why."""


def check_rows(model: Model, worked: Arrays | None, untried: str = "") -> None:
    """Raises NotStacked where a row is answered otherwise in a batch than alone, NotProbed where
    the same row alone is not answered the same twice, or nothing can be run.

    `worked` is an input that the model can run, or None and `untried` why there is none. At most
    MOST_RUNS runs, at most SECONDS unless the first few take longer. Shapes that the
    model leaves open are tried in a second size.
    """
    if worked is None:
        raise NotProbed(untried)
    probe = _Probe(model)
    probe.try_shapes(worked, _ORDERS)
    larger = {spec.name: _larger(spec, worked[spec.name]) for spec in model.metadata.inputs}
    if any(larger[name].shape != worked[name].shape for name in worked) and probe.has_time():
        probe.try_shapes(larger, _ORDERS[:3], optional=True)


class _Probe:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._most = model.metadata.max_batch_size
        self._left = MOST_RUNS
        self._give_up = time.monotonic() + SECONDS
        self._random = np.random.default_rng(_SEED)

    def has_time(self) -> bool:
        return self._left > 0 and time.monotonic() < self._give_up

    def try_shapes(
        self, like: Arrays, orders: Sequence[tuple[int, ...]], *, optional: bool = False
    ) -> None:
        """With `optional`, a shape that cannot be run alone says nothing."""
        try:
            rows, alone = self._rows_alone(like)
        except NotProbed:
            if optional:
                return
            raise
        for number, order in enumerate(orders):
            if number >= _FEWEST_ORDERS and not self.has_time():
                return
            kept = tuple(row for row in order[: self._most] if row in alone)
            if len(kept) > 1:
                self._check(rows, alone, kept)

    def _rows_alone(self, like: Arrays) -> tuple[list[Arrays], dict[int, Arrays]]:
        """Rows, and the answers to those that were run: random ones, or where the model takes none
        of these, such as are known to work."""
        rows = list(self._made_up(like))
        try:
            first = self._run(rows[0])
        except Exception:  # noqa: BLE001 - a runtime may raise anything
            rows = list(_scaled(self._model.metadata.inputs, like))
            try:
                first = self._run(rows[0])
            except NotProbed:
                raise
            except Exception as error:
                raise NotProbed(f"one row alone cannot be run: {error}") from error
        again = self._run(rows[0])
        if _difference(self._model.metadata.outputs, first, again):
            raise NotProbed("the same row alone is answered otherwise the second time")
        alone = {0: first}
        for number in range(1, _ROWS):
            if number > _LARGE_ROW and not self.has_time():
                break
            try:
                alone[number] = self._run(rows[number])
            except Exception:  # noqa: BLE001, S112 - values that nobody would send
                continue
        return rows, alone

    def _check(
        self, rows: Sequence[Arrays], alone: dict[int, Arrays], order: Sequence[int]
    ) -> None:
        names = [spec.name for spec in self._model.metadata.inputs]
        batch = {name: np.concatenate([rows[row][name] for row in order]) for name in names}
        try:
            together = self._run(batch)
        except Exception as error:
            raise NotStacked(f"a batch of {len(order)} cannot be run: {error}") from error
        for name, array in together.items():
            if array.shape[:1] != (len(order),):
                shape = list(array.shape)
                raise NotStacked(f"output {name!r} has shape {shape} for a batch of {len(order)}")
        for place, row in enumerate(order):
            answer = {name: array[place : place + 1] for name, array in together.items()}
            found = _difference(self._model.metadata.outputs, alone[row], answer)
            if found:
                raise NotStacked(
                    f"its rows are not independent: row {place + 1} of a batch of {len(order)} is"
                    f" answered otherwise than alone, {found}"
                )

    def _run(self, inputs: Arrays) -> Arrays:
        self._left -= 1
        outputs = self._model.predict(inputs)
        for spec in self._model.metadata.outputs:
            if spec.name not in outputs:
                raise NotProbed(f"it gave no output {spec.name!r}")
        return outputs

    def _made_up(self, like: Arrays) -> Iterator[Arrays]:
        specs = self._model.metadata.inputs
        for number in range(_ROWS):
            factor = LARGE if number == _LARGE_ROW else 1.0
            yield {spec.name: self._values(spec, like[spec.name], factor) for spec in specs}

    def _values(self, spec: TensorSpec, like: Array, factor: float) -> Array:
        shape = (1, *like.shape[1:])
        if spec.datatype in _TOLERANCE:
            return _as(spec.datatype, self._random.standard_normal(shape) * factor)
        if spec.datatype == "BOOL":
            return self._random.integers(0, 2, shape).astype(np.bool_)
        if spec.datatype == "BYTES":
            words = np.array([b"", b"a", b"manta", b"7"], dtype=object)
            return words[self._random.integers(0, len(words), shape)]
        if spec.datatype == "UINT8":  # pictures
            return self._random.integers(1, 256 if factor > 1 else 16, shape).astype(np.uint8)
        # No zeros, which take some runtimes down, and small, since they may be indices or sizes.
        return self._random.integers(1, 4, shape).astype(dtype_of(spec.datatype))


def _scaled(specs: Sequence[TensorSpec], like: Arrays) -> Iterator[Arrays]:
    """Rows of what worked, floating point numbers in other scales."""
    for factor in (1.0, LARGE, 0.5, 2.0):
        yield {
            spec.name: _as(spec.datatype, _plain(spec.datatype, like[spec.name][:1]) * factor)
            if spec.datatype in _TOLERANCE
            else like[spec.name][:1]
            for spec in specs
        }


def _larger(spec: TensorSpec, array: Array) -> Array:
    """The same in twice the size and one more along each open axis behind the first."""
    pads = [
        (0, size + 1 if wanted < 0 and axis > 0 else 0)
        for axis, (size, wanted) in enumerate(zip(array.shape, spec.shape, strict=True))
    ]
    return np.pad(array, pads, mode="edge") if any(pad for _, pad in pads) else array


def _difference(specs: Sequence[TensorSpec], alone: Arrays, other: Arrays) -> str:
    """What differs first, or nothing."""
    for spec in specs:
        left, right = alone[spec.name], other[spec.name]
        if left.shape != right.shape:
            return f"{spec.name!r} having shape {list(right.shape)} instead of {list(left.shape)}"
        different = _different(spec.datatype, left, right)
        if different.any():
            place = int(np.flatnonzero(different)[0])
            return f"{spec.name!r} being {right.flat[place]!s} instead of {left.flat[place]!s}"
    return ""


def _different(datatype: str, left: Array, right: Array) -> Array:
    if datatype not in _TOLERANCE:
        return np.asarray(left != right)
    one, two = _plain(datatype, left), _plain(datatype, right)
    known = np.isfinite(one)  # a value that is none alone cannot be compared
    largest = float(np.abs(one[known]).max()) if known.any() else 0.0
    with np.errstate(invalid="ignore"):
        near = np.abs(one - two) <= _NOTHING[datatype] + _TOLERANCE[datatype] * largest
    return known & ~near


def _plain(datatype: str, array: Array) -> npt.NDArray[np.float64]:
    return (bf16_to_float32(array) if datatype == "BF16" else array).astype(np.float64)


def _as(datatype: str, values: Array) -> Array:
    if datatype == "BF16":
        return float32_to_bf16(values.astype(np.float32))
    with np.errstate(over="ignore"):
        return values.astype(dtype_of(datatype))
