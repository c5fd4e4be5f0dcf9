import numpy as np
import pytest

from app.errors import ConfigurationError, InvalidInput
from app.imaging.annotate import annotate, color_of
from app.imaging.values import Image
from app.types import Detections, TextLine
from tests.fakes.nodes import NodeBench, message
from tests.unit.app.imaging.test_header import FILES, PICTURE

GREY: Image = np.full((300, 400, 3), 128, np.uint8)


def one_box(class_id: int, track: int | None = None) -> Detections:
    return Detections(
        boxes=np.array([[100, 100, 220, 200]], np.float32),
        scores=np.array([0.87], np.float32),
        classes=np.array([class_id], np.int32),
        track_ids=None if track is None else np.array([track], np.int64),
        labels=("person", "car"),
    )


LINE = TextLine(((50, 50), (350, 70), (348, 100), (48, 80)), "Größe 中文 12", 0.9)


@pytest.mark.parametrize(("class_id", "track", "index"), [(1, None, 1), (1, 7, 7), (99, None, 99)])
def test_boxes_are_outlined_in_the_color_of_class_or_track(
    class_id: int, track: int | None, index: int
) -> None:
    drawn = annotate(GREY, one_box(class_id, track))
    assert tuple(drawn[150, 100].tolist()) == color_of(index)
    assert tuple(drawn[150, 160].tolist()) == (128, 128, 128)
    assert (drawn[86:99, 100:140] != 128).any(axis=2).all()
    assert GREY.min() == GREY.max() == 128


def test_labels_at_the_border_stay_in_the_picture() -> None:
    corner = Detections(
        np.array([[380, 0, 400, 40], [-50, 280, 10, 900]], np.float32),
        np.array([0.5, 0.4], np.float32),
        np.array([0, 1], np.int32),
        labels=("a label that is far longer than its box", "car"),
    )
    assert annotate(GREY, corner).shape == GREY.shape


def test_text_is_outlined_and_written_where_it_was_found() -> None:
    drawn = annotate(GREY, [LINE])
    assert drawn.shape == (300, 800, 3)
    page = drawn[:, 400:].min(axis=2)
    rows, columns = np.nonzero(page < 100)
    assert len(rows) > 100
    assert (rows.min() >= 50, rows.max() <= 100) == (True, True)
    assert (columns.min() >= 48, columns.max() <= 350) == (True, True)
    assert (drawn[:, :400] != 128).any()


def test_without_outline_fonts_letters_outside_ascii_become_question_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.imaging.annotate._HAS_OUTLINE_FONTS", False)
    asked = TextLine(LINE.polygon, "Gr??e ?? 12", 0.9)
    assert np.array_equal(annotate(GREY, [LINE])[:, 400:], annotate(GREY, [asked])[:, 400:])
    assert annotate(GREY, [LINE])[:, 400:].min() < 100


def test_colors_of_frequent_neighbours_differ() -> None:
    colors = [np.array(color_of(index), int) for index in range(40)]
    apart = [np.abs(a - b).max() for i, a in enumerate(colors) for b in colors[i + 1 : i + 13]]
    assert min(apart) > 20


@pytest.mark.parametrize("result", ["text", [1], np.zeros((1, 4))])
def test_other_results_are_refused(result: object) -> None:
    with pytest.raises(InvalidInput, match="draw"):
        annotate(GREY, result)


async def test_the_picture_is_the_content_where_no_input_is_one() -> None:
    bench = NodeBench()
    node = bench.node("Visualizer", "found")
    drawn = await bench.run(node, message(FILES["png"], found=one_box(0)))
    assert isinstance(drawn, np.ndarray)
    assert drawn.shape == PICTURE.shape


async def test_inputs_may_come_in_any_order() -> None:
    bench = NodeBench()
    node = bench.node("draw", "found", "picture")
    drawn = await bench.run(node, message(None, found=one_box(0), picture=GREY))
    assert isinstance(drawn, np.ndarray)
    assert np.array_equal(drawn, annotate(GREY, one_box(0)))


async def test_a_picture_alone_is_refused() -> None:
    bench = NodeBench()
    with pytest.raises(InvalidInput, match="result"):
        await bench.node("draw", "picture").process(message(picture=GREY))
    with pytest.raises(ConfigurationError, match="input"):
        bench.node("draw")
