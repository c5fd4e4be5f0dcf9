import numpy as np
import numpy.typing as npt
import pytest

from app.errors import ConfigurationError, InferenceFailed, InvalidInput
from app.imaging.codec import decode_image
from app.imaging.text import recognition_order
from app.imaging.values import Floats
from app.nodes.vision.text_recognition import TextCropsConfig, decode_ctc, text_crops
from app.types import Tensors, TextLine
from tests.fakes.nodes import LabelledModel, NodeBench, message
from tests.fakes.ocr import answer, find_text, listed_characters, needs_ocr
from tests.paths import ROOT
from tests.unit.app.imaging.test_text import line, turned

ALPHABET = ("", "a", "b", "c", " ")


def spoken(*rows: str, chance: float = 0.8) -> Floats:
    """What a recogniser says that reads these characters column by column; - is the blank."""
    output = np.full((len(rows), max(map(len, rows)), len(ALPHABET)), 0.01, np.float32)
    output[:, :, 0] = 0.5
    for row, text in enumerate(rows):
        for column, character in enumerate(text):
            output[row, column, 0 if character == "-" else ALPHABET.index(character)] = chance
    return output


class TestCrops:
    def test_no_lines_make_no_batches(self) -> None:
        empty = np.zeros((0, 4, 2), np.float32)
        assert text_crops(TextCropsConfig(), np.zeros((9, 9, 3), np.uint8), empty) == []

    def test_a_line_is_cut_out_upright_and_padded_with_the_mean(self) -> None:
        picture = np.zeros((200, 400, 3), np.uint8)
        picture[50:74, 40:240] = 255
        (batch,) = text_crops(TextCropsConfig(), picture, line(40, 50, 200, 24)[None])
        array = batch.arrays[""]
        assert array.shape == (1, 3, 48, 400)
        assert array[0, :, 4:-4, 4:-4].min() > 0.9

        (padded,) = text_crops(TextCropsConfig(), picture, line(40, 50, 120, 24)[None])
        array = padded.arrays[""]
        assert array.shape == (1, 3, 48, 320)
        assert np.ptp(array[0, :, :, 240:]) == 0
        assert array[0, 0, 0, 319] == 0

    @pytest.mark.parametrize("degrees", [-30, 20])
    def test_a_turned_line_is_set_straight(self, degrees: float) -> None:
        polygon = turned(line(0, 0, 160, 30), degrees) + 150
        left_half = turned(line(0, 0, 80, 30), degrees) + 150
        picture = np.zeros((400, 400, 3), np.uint8)
        picture[inside(left_half, 400)] = 255
        (batch,) = text_crops(TextCropsConfig(), picture, polygon[None])
        crop = batch.arrays[""][0, 0, :, :256]
        assert crop[6:-6, 8:120].min() > 0.8
        assert crop[6:-6, 136:248].max() < -0.8

    def test_lines_share_batches_by_width_within_the_limits(self) -> None:
        widths = [600, 40, 900, 60, 610, 50]
        polygons = np.stack([line(0, 0, width, 48) for width in widths])
        picture = np.zeros((60, 1000, 3), np.uint8)
        batches = text_crops(TextCropsConfig(input="x"), picture, polygons)
        assert [batch.arrays["x"].shape for batch in batches] == [
            (3, 3, 48, 320), (2, 3, 48, 610), (1, 3, 48, 900),
        ]  # fmt: skip
        everything = TextCropsConfig(max_columns=100_000, max_padding=0.9)
        assert len(text_crops(everything, picture, polygons)) == 1
        single = TextCropsConfig(max_batch=1)
        assert len(text_crops(single, picture, polygons)) == 6

    def test_a_picture_wider_than_opencv_warps_is_cut_all_the_same(self) -> None:
        picture = np.full((40, 40_000, 3), 255, np.uint8)
        (batch,) = text_crops(TextCropsConfig(), picture, line(39_000, 5, 100, 30)[None])
        assert batch.arrays[""][0, :, :, :100].min() > 0.9


def inside(polygon: Floats, size: int) -> npt.NDArray[np.bool_]:
    """Which pixels of a square picture lie in a convex polygon given clockwise."""
    y, x = np.mgrid[:size, :size]
    edges = np.roll(polygon, -1, axis=0) - polygon
    sides = [
        edge_x * (y - corner_y) - edge_y * (x - corner_x) >= 0
        for (edge_x, edge_y), (corner_x, corner_y) in zip(edges, polygon, strict=True)
    ]
    return np.asarray(np.logical_and.reduce(sides), np.bool_)


class TestDecode:
    def test_repeats_fold_and_blanks_part(self) -> None:
        texts = [text for text, _ in decode_ctc(spoken("aa-ab", "-----", "c c-c"), ALPHABET)]
        assert texts == ["aab", "", "c cc"]

    def test_confidence_is_the_mean_of_the_kept_columns(self) -> None:
        output = spoken("ab")
        output[0, 1, 2] = 0.6
        ((text, confidence),) = decode_ctc(output, ALPHABET)
        assert text == "ab"
        assert confidence == pytest.approx(0.7)
        assert decode_ctc(spoken("--"), ALPHABET) == [("", 0)]


class TestLines:
    POLYGONS = np.stack([line(0, 0, 300, 20), line(0, 30, 100, 20), line(0, 60, 200, 20)])

    def bench(self, characters: tuple[str, ...] = ALPHABET) -> tuple[NodeBench, LabelledModel]:
        model = LabelledModel({"logits": characters})
        return NodeBench({"reader": model}), model

    async def test_texts_return_to_their_polygons(self) -> None:
        bench, model = self.bench()
        node = bench.node("text.lines", "read", "boxes", model="reader")
        # Batches come narrowest first: lines 1 and 2 of the picture, then line 0.
        answers = [Tensors({"logits": spoken("b", "c")}), Tensors({"logits": spoken("a-a")})]
        for _ in range(2):
            lines = await bench.run(node, message(read=answers, boxes=self.POLYGONS))
            assert isinstance(lines, list)
            assert [entry.text for entry in lines] == ["aa", "b", "c"]
            assert lines[1].polygon == ((0, 30), (100, 30), (100, 50), (0, 50))
        assert model.asked == 1

    async def test_weak_and_blank_lines_are_dropped(self) -> None:
        bench, _ = self.bench()
        node = bench.node("text.lines", "read", "boxes", model="reader", min_score=0.7)
        # By width: line 1 is blank, line 2 weak, line 0 clear.
        logits = spoken("  ", "b", "c")
        logits[1, 0, 2] = 0.6
        answers = Tensors({"logits": logits})
        lines = await bench.run(node, message(read=answers, boxes=self.POLYGONS))
        assert [(entry.text, entry.polygon[0]) for entry in _texts(lines)] == [("c", (0, 0))]

    async def test_no_text_needs_no_recogniser(self) -> None:
        bench = NodeBench()
        node = bench.node("text.lines", "read", "boxes", model="not loaded")
        empty = np.zeros((0, 4, 2), np.float32)
        assert await bench.run(node, message(read=[], boxes=empty)) == []

    @pytest.mark.parametrize("listed", [ALPHABET, ALPHABET[1:], ALPHABET[1:-1]])
    async def test_blank_and_space_are_added_where_the_list_lacks_them(
        self, listed: tuple[str, ...]
    ) -> None:
        bench, _ = self.bench(listed)
        node = bench.node("text.lines", "read", "boxes", model="reader")
        answers = Tensors({"logits": spoken("a b")})
        lines = await bench.run(node, message(read=answers, boxes=self.POLYGONS[:1]))
        assert [entry.text for entry in _texts(lines)] == ["a b"]

    async def test_an_alphabet_of_another_size_is_refused(self) -> None:
        bench, _ = self.bench(("a", "b"))
        node = bench.node("text.lines", "read", "boxes", model="reader")
        answers = Tensors({"logits": spoken("a")})
        with pytest.raises(InferenceFailed, match="5 characters and has 2 labels"):
            await bench.run(node, message(read=answers, boxes=self.POLYGONS[:1]))

    async def test_answers_that_do_not_fit_the_polygons_are_refused(self) -> None:
        bench, _ = self.bench()
        node = bench.node("text.lines", "read", "boxes", model="reader")
        one = message(read=Tensors({"logits": spoken("a")}), boxes=self.POLYGONS)
        with pytest.raises(InvalidInput, match="1 recognised lines for 3"):
            await node.process(one)
        flat = message(read=Tensors({"logits": np.zeros((3, 5))}), boxes=self.POLYGONS)
        with pytest.raises(InferenceFailed, match="columns"):
            await node.process(flat)

    def test_wrong_wiring_is_a_configuration_error(self) -> None:
        with pytest.raises(ConfigurationError, match="two inputs"):
            self.bench()[0].node("text.lines", "read", model="reader")


def _texts(lines: object) -> list[TextLine]:
    assert isinstance(lines, list)
    return lines


@needs_ocr
async def test_the_sample_sign_is_read_completely() -> None:
    samples = ROOT / "config" / "samples"
    image = decode_image((samples / "sign.jpg").read_bytes())
    polygons = find_text(image)
    batches = text_crops(TextCropsConfig(), image, polygons)
    answers = [Tensors({"y": answer("rec", batch.arrays[""])}) for batch in batches]
    bench = NodeBench({"reader": LabelledModel({"y": listed_characters()})})
    node = bench.node("text.lines", "read", "boxes", model="reader")
    lines = _texts(await bench.run(node, message(read=answers, boxes=polygons)))
    known = (samples / "sign.txt").read_text(encoding="utf-8").splitlines()
    assert [entry.text.split() for entry in lines] == [text.split() for text in known]
    assert sum(len(batch.arrays[""]) for batch in batches) == len(recognition_order(polygons))


@needs_ocr
def test_a_picture_without_text_gives_no_boxes() -> None:
    grain = np.random.default_rng(0).normal(128, 6, (240, 320, 3))
    assert find_text(np.asarray(grain, np.uint8)).shape == (0, 4, 2)
