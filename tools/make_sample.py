"""Draws config/samples/sign.jpg, a photographed machine plate, and its text as sign.txt.

    python -m tools.make_sample

Needs OpenCV 5, whose outline fonts are part of the library; the result is the same on every run.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from app.imaging.values import Image

SAMPLES = Path(__file__).resolve().parents[1] / "config" / "samples"
SIGN_LINES = (
    "MANTA PUMP STATION 7",
    "Model: HX-4200/B",
    "Serial No. 83051-2296",
    "Voltage 400 V  50 Hz",
    "Max. pressure 16 bar",
    "Made in 2024",
    "CAUTION: HOT SURFACE",
)
_INK = (40, 36, 32)
_ALARM = (30, 30, 190)


def draw_lines(
    lines: Sequence[str],
    *,
    size: int,
    paper: tuple[int, int, int] = (214, 222, 224),
    ink: tuple[int, int, int] = _INK,
    margin: int = 40,
    font: str = "sans",
) -> Image:
    """Text on plain paper, `size` pixels high, lines one and a half times that apart."""
    face = cv2.FontFace(font)
    widths = [cv2.getTextSize((0, 0), line, (0, 0), face, size)[2] for line in lines]
    height = 2 * margin + round(len(lines) * size * 1.5)
    page = np.full((height, max(widths) + 2 * margin, 3), paper, np.uint8)
    for row, line in enumerate(lines):
        origin = (margin, margin + round((row * 1.5 + 1.1) * size))
        cv2.putText(page, line, origin, ink, face, size)
    return page


def photograph(
    page: Image, *, angle: float, noise: float, contrast: float = 1.0, seed: int = 0
) -> Image:
    """The page turned by `angle` degrees on a dark table, unevenly lit and grainy."""
    height, width = page.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    out_width = round(width * cosine + height * sine)
    out_height = round(width * sine + height * cosine)
    matrix[:, 2] += ((out_width - width) / 2, (out_height - height) / 2)
    scene = cv2.warpAffine(
        page, matrix, (out_width, out_height), flags=cv2.INTER_CUBIC, borderValue=(92, 98, 102)
    ).astype(np.float32)
    light = np.linspace(1.0, 0.82, out_width, dtype=np.float32)[None, :, None]
    grain = np.random.default_rng(seed).normal(0, noise, scene.shape)
    lit = 128 + (scene * light - 128) * contrast + grain
    return np.asarray(np.clip(lit, 0, 255), np.uint8)


def make_sign() -> Image:
    """The sample: a plate with a frame, screws and a warning in red."""
    page = draw_lines(SIGN_LINES[:-1], size=34, margin=64)
    height, width = page.shape[:2]
    plate = np.vstack([page, np.full((70, width, 3), page[0, 0], np.uint8)])
    height += 70
    cv2.rectangle(plate, (14, 14), (width - 15, height - 15), _INK, 3, cv2.LINE_AA)
    for x in (36, width - 37):
        for y in (36, height - 37):
            cv2.circle(plate, (x, y), 9, (150, 152, 150), -1, cv2.LINE_AA)
            cv2.line(plate, (x - 6, y - 4), (x + 6, y + 4), _INK, 2, cv2.LINE_AA)
    cv2.putText(plate, SIGN_LINES[-1], (64, height - 62), _ALARM, cv2.FontFace("sans"), 34, 700)
    blurred = np.asarray(cv2.GaussianBlur(plate, (0, 0), 0.7), np.uint8)
    return photograph(blurred, angle=3.0, noise=5)


def main() -> None:
    SAMPLES.mkdir(parents=True, exist_ok=True)
    picture = make_sign()
    cv2.imwrite(str(SAMPLES / "sign.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    (SAMPLES / "sign.txt").write_text("\n".join(SIGN_LINES) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
