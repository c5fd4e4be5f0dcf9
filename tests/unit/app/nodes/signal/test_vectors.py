import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from app.errors import InvalidInput
from app.interfaces import ModelHandle
from app.nodes.signal.vectors import SoftmaxTopk, SoftmaxTopkConfig, VectorConfig, vector_to_tensor
from app.telemetry.tracing import TraceSettings
from app.types import (
    ClassScore,
    InferenceRequest,
    InferenceResponse,
    Message,
    ModelMetadata,
    ModelStatistics,
    Tensors,
)
from tests.fakes.context import context

READING = {"co2_ppm": 900, "temperature": 21.5, "humidity": 40, "pressure": 1013, "voc": 0.3}


def test_a_reading_becomes_one_row_in_the_models_order() -> None:
    tensors = vector_to_tensor(VectorConfig(), dict(reversed(READING.items())))
    array = tensors.arrays[""]
    assert array.dtype == np.float32
    assert array.tolist() == [[900.0, 21.5, 40.0, 1013.0, np.float32(0.3)]]


def test_other_fields_can_be_chosen() -> None:
    tensors = vector_to_tensor(VectorConfig(fields=("voc", "co2_ppm")), READING)
    assert tensors.arrays[""].shape == (1, 2)


@pytest.mark.parametrize(
    ("reading", "error"),
    [
        ({**READING, "voc": None}, "'voc' must be a number, not NoneType"),
        ({**READING, "voc": "0.3"}, "'voc' must be a number, not str"),
        ({**READING, "voc": True}, "'voc' must be a number, not bool"),
        ({**READING, "pressure": math.nan}, "'pressure' must be a finite number"),
        ({**READING, "pressure": 1e39}, "'pressure' must be a finite number"),
        ({"co2_ppm": 900}, "'temperature' is missing"),
        ([1, 2, 3], "must be a JSON object, not list"),
        (b"{}", "must be a JSON object, not bytes"),
    ],
)
def test_bad_readings_are_refused_by_name(reading: object, error: str) -> None:
    with pytest.raises(InvalidInput, match=error):
        vector_to_tensor(VectorConfig(), reading)


@dataclass
class LabelledModel:
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asked: int = 0

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        raise NotImplementedError

    async def ready(self) -> bool:
        return True

    async def metadata(self, version: str | None = None) -> ModelMetadata:
        self.asked += 1
        return ModelMetadata("m", ("1",), "test", (), (), labels=self.labels)

    def admit(self, deadline: float, version: str | None = None) -> None:
        """Takes everything."""

    async def trace_settings(
        self, own: TraceSettings, for_all: TraceSettings | None = None
    ) -> TraceSettings:
        return own

    async def statistics(self, version: str | None = None) -> tuple[ModelStatistics, ...]:
        return (ModelStatistics("labelled", version or "1"),)


async def topk(
    arrays: dict[str, object], model: ModelHandle | None = None, **options: object
) -> list[ClassScore]:
    models = {} if model is None else {"m": model}
    node = SoftmaxTopk(
        SoftmaxTopkConfig.model_validate(options), context("node", ("in",), models=models)
    )
    tensors = Tensors({name: np.asarray(array) for name, array in arrays.items()})
    done = await node.process(Message("1", "s", None, 0.0, results={"in": tensors}))
    assert done is not None
    result = done.results["node"]
    assert isinstance(result, list)
    return result


async def test_logits_get_a_softmax() -> None:
    result = await topk({"out": [[0.0, math.log(3.0)]]}, labels=("a", "b"))
    assert [score.label for score in result] == ["b", "a"]
    assert [score.score for score in result] == pytest.approx([0.75, 0.25])


async def test_large_logits_do_not_overflow() -> None:
    result = await topk({"out": [[1e4, 0.0]]})
    assert result[0] == ClassScore("0", 1.0)


async def test_probabilities_stay_as_they_are() -> None:
    probabilities = np.asarray([[0.2, 0.7, 0.1]], np.float32)
    labels = np.asarray([1], np.int64)
    result = await topk({"label": labels, "probabilities": probabilities}, k=2)
    assert [score.label for score in result] == ["1", "0"]
    assert [score.score for score in result] == pytest.approx([0.7, 0.2])


async def test_labels_come_from_the_model_once_it_is_needed() -> None:
    model = LabelledModel({"out": ("good", "poor")})
    node = SoftmaxTopk(SoftmaxTopkConfig(model="m"), context("node", ("in",), models={"m": model}))
    await node.open()
    assert model.asked == 0
    tensors = Tensors({"out": np.asarray([[0.0, 9.0]])})
    for _ in range(2):
        done = await node.process(Message("1", "s", None, 0.0, results={"in": tensors}))
        assert done is not None
        result = done.results["node"]
        assert isinstance(result, list)
        assert result[0].label == "poor"
    assert model.asked == 1


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        ({"a": [[1.0]], "b": [[1.0]]}, "`output` must say which of these holds the scores: a, b"),
        ({"a": [1]}, "`output` must say which"),
        ({"a": [[1.0], [2.0]]}, "must be one row"),
        ({"a": [[]]}, "must be one row"),
        ({"a": [[math.nan, 1.0]]}, "is not finite"),
    ],
)
async def test_what_is_no_row_of_scores_is_refused(arrays: dict[str, object], error: str) -> None:
    with pytest.raises(InvalidInput, match=error):
        await topk(arrays)


async def test_an_unknown_output_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no output 'x'; there are: a"):
        await topk({"a": [[1.0]]}, output="x")
