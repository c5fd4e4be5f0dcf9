"""Our OCR nodes beside rapidocr's own pipeline: the same weights, pictures and threads.

    python -m benchmarks.ocr_parity [--rounds 7] [--threads 2]

Prints, per picture, the character error rate (edit distance / length of the known text, spaces
collapsed) of both and the median time from BGR array to text, the two taking turns: on the clock,
and of the processor, which says more where other programs run beside.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnxruntime
import rapidocr
import skimage.data
from rich.console import Console
from rich.table import Table

from app.imaging.values import Image
from app.nodes.vision.text_detection import (
    DetectInputConfig,
    TextBoxesConfig,
    detect_input,
    text_boxes,
)
from app.nodes.vision.text_recognition import TextCropsConfig, read_lines, text_crops
from app.types import Array, TextLine
from tools.make_sample import SAMPLES, draw_lines, photograph

_WEIGHTS = Path(rapidocr.__file__).parent / "models"
_PAGE = """Region-based segmentation
Let us first determine markers of the coins and the
background. These markers are pixels that we can label
unambiguously as either object or background. Here,
the markers are found at the two extreme parts of the
histogram of grey values:
>>> markers = np.zeros_like(coins)"""
_LABEL = (
    "Consignment 4471-0093-22",
    "Ship to: Harbour Road 18",
    "2500 Northfield",
    "Weight 12.4 kg",
    "FRAGILE",
    "Box 3 of 7",
)
_FAINT = (
    "Inspection log, unit 12",
    "Bearing temperature 64.2 C",
    "Vibration 3.1 mm/s RMS",
    "Oil level normal",
    "Next service in 120 hours",
    "Checked by K. Lindqvist",
)


class Picture(NamedTuple):
    name: str
    image: Image
    text: str


Reader = Callable[[Image], list[str]]


def pictures() -> list[Picture]:
    sign = cv2.imread(str(SAMPLES / "sign.jpg"))
    page = skimage.data.page()  # type: ignore[no-untyped-call]  # it has no types
    dense = [
        f"{row + 1:02d} The quick meter {row * 37 % 91} reads {row * 113 % 997}.{row % 10} units, "
        f"line {row * 7 % 60} of panel {chr(65 + row % 26)}{row % 9}"
        for row in range(40)
    ]
    return [
        Picture("page", np.stack([page] * 3, axis=-1), _PAGE),
        Picture("sign", np.asarray(sign, np.uint8), (SAMPLES / "sign.txt").read_text("utf-8")),
        Picture(
            "label 8 deg",
            photograph(draw_lines(_LABEL, size=44), angle=-8, noise=8, seed=1),
            "\n".join(_LABEL),
        ),
        Picture(
            "faint, small",
            photograph(draw_lines(_FAINT, size=20), angle=1.5, noise=6, contrast=0.35, seed=2),
            "\n".join(_FAINT),
        ),
        Picture(
            "dense, 40 lines",
            photograph(draw_lines(dense, size=22, font="uni"), angle=0.5, noise=4, seed=3),
            "\n".join(dense),
        ),
    ]


def our_reader(threads: int) -> Reader:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False  # as rapidocr has it
    detector, recogniser = (
        onnxruntime.InferenceSession(
            _WEIGHTS / f"PP-OCRv6_{part}_small.onnx", options, providers=["CPUExecutionProvider"]
        )
        for part in ("det", "rec")
    )
    listed = recogniser.get_modelmeta().custom_metadata_map["character"].splitlines()
    characters = ("", *listed, " ")

    def run(session: onnxruntime.InferenceSession, batch: Array) -> Array:
        return np.asarray(session.run(None, {"x": batch})[0])

    def read(image: Image) -> list[TextLine]:
        found = detect_input(DetectInputConfig(), image)
        found = type(found)({"": run(detector, found.arrays[""])}, found.transform)
        polygons = text_boxes(TextBoxesConfig(), found)
        batches = text_crops(TextCropsConfig(), image, polygons)
        outputs = [run(recogniser, batch.arrays[""]) for batch in batches]
        return read_lines(outputs, polygons, characters, 0.5)

    return lambda image: [line.text for line in read(image)]


def their_reader(threads: int) -> Reader:
    engine = rapidocr.RapidOCR(
        params={
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "Global.log_level": "error",
            "Global.use_cls": False,
        }
    )
    return lambda image: list(getattr(engine(image, use_cls=False), "txts", None) or ())


def error_rate(found: str, known: str) -> float:
    """Edit distance over the length of what was written, after collapsing white space."""
    first, second = " ".join(found.split()), " ".join(known.split())
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1] / len(second)


def median_times(readers: list[Reader], image: Image, rounds: int) -> list[tuple[float, float]]:
    """Milliseconds by the clock and of the processor per reader; a busy spell hits both."""
    times: list[list[tuple[float, float]]] = [[] for _ in readers]
    for _ in range(rounds):
        for reader, spent in zip(readers, times, strict=True):
            wall, processor = time.perf_counter(), time.process_time()
            reader(image)
            spent.append((time.perf_counter() - wall, time.process_time() - processor))
    return [
        (statistics.median(wall) * 1e3, statistics.median(processor) * 1e3)
        for wall, processor in (zip(*spent, strict=True) for spent in times)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    readers = [our_reader(arguments.threads), their_reader(arguments.threads)]
    table = Table(
        "ours / rapidocr", "size", "lines", "error rate", "wall ms", "ratio", "cpu ms", "ratio"
    )
    for name, image, text in pictures():
        answers = [reader(image) for reader in readers]
        rates = [error_rate("\n".join(answer), text) for answer in answers]
        ours, theirs = median_times(readers, image, arguments.rounds)
        table.add_row(
            name,
            f"{image.shape[1]}x{image.shape[0]}",
            f"{len(answers[0])} / {len(answers[1])}",
            f"{rates[0]:.2%} / {rates[1]:.2%}",
            f"{ours[0]:.0f} / {theirs[0]:.0f}",
            f"{ours[0] / theirs[0]:.2f}",
            f"{ours[1]:.0f} / {theirs[1]:.0f}",
            f"{ours[1] / theirs[1]:.2f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
