import struct

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from app.errors import InvalidInput, TooLarge
from app.imaging.values import Image
from app.nodes.vision.image import (
    CropConfig,
    DecodeConfig,
    JpegToYoloConfig,
    ResizeConfig,
    ToTensorConfig,
    crop,
    decode,
    jpeg_to_yolov5,
    resize_image,
    to_tensor,
)
from app.registry import NODES
from app.types import Tensors
from tests.fakes.nodes import NodeBench, message
from tests.unit.app.imaging.test_header import FILES, PICTURE, jpeg_declaring, png_declaring


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment that holds nothing but the orientation tag."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + bytes(4)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def plain(width: int, height: int, color: tuple[int, int, int] = (10, 20, 30)) -> Image:
    return np.full((height, width, 3), color, np.uint8)


class TestDecode:
    @pytest.mark.parametrize("name", ["png", "webp lossless", "bmp"])
    def test_lossless_files_give_back_the_picture(self, name: str) -> None:
        assert np.array_equal(decode(DecodeConfig(), FILES[name]), PICTURE)

    def test_arrays_pass_and_grey_becomes_color(self) -> None:
        assert decode(DecodeConfig(), PICTURE) is PICTURE
        grey = decode(DecodeConfig(), PICTURE[..., 0])
        assert grey.shape == PICTURE.shape

    def test_orientation_is_applied(self) -> None:
        upright = decode(DecodeConfig(), FILES["jpeg"])
        turned = decode(DecodeConfig(), with_orientation(FILES["jpeg"], 6))
        assert np.array_equal(turned, np.rot90(upright, -1))

    @pytest.mark.parametrize(
        "bomb",
        [png_declaring(65_000, 65_000), jpeg_declaring(65_000, 65_000), FILES["bmp"]],
        ids=["png", "jpeg", "over a small limit"],
    )
    def test_large_pictures_are_refused_before_decoding(self, bomb: bytes) -> None:
        with pytest.raises(TooLarge, match="pixels"):
            decode(DecodeConfig(max_pixels=1000), bomb)

    def test_large_arrays_are_refused(self) -> None:
        with pytest.raises(TooLarge):
            decode(DecodeConfig(max_pixels=10), PICTURE)

    @pytest.mark.parametrize("name", FILES)
    def test_truncated_files_are_refused(self, name: str) -> None:
        with pytest.raises(InvalidInput):
            decode(DecodeConfig(), FILES[name][: len(FILES[name]) * 3 // 4])

    def test_damaged_contents_are_refused(self) -> None:
        damaged = bytearray(FILES["png"])
        damaged[60:90] = bytes(30)
        with pytest.raises(InvalidInput, match="cannot be decoded"):
            decode(DecodeConfig(), bytes(damaged))

    @pytest.mark.parametrize(
        "content",
        ["text", None, np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)],
        ids=["str", "none", "float array", "empty array"],
    )
    def test_other_contents_are_refused(self, content: object) -> None:
        with pytest.raises(InvalidInput):
            decode(DecodeConfig(), content)


class TestResizeAndCrop:
    @pytest.mark.parametrize(
        ("config", "size"),
        [
            (ResizeConfig(width=20, height=30), (30, 20)),
            (ResizeConfig(width=100), (50, 100)),
            (ResizeConfig(height=10), (10, 20)),
        ],
    )
    def test_missing_side_keeps_the_aspect_ratio(
        self, config: ResizeConfig, size: tuple[int, int]
    ) -> None:
        assert resize_image(config, plain(200, 100)).shape[:2] == size

    def test_no_size_at_all_is_a_configuration_error(self) -> None:
        with pytest.raises(ValidationError, match="width or height"):
            ResizeConfig()

    def test_crop_in_pixels_and_in_fractions(self) -> None:
        pixels = crop(CropConfig(x=5, y=7, width=10, height=20), PICTURE)
        assert np.array_equal(pixels, PICTURE[7:27, 5:15])
        half = CropConfig(x=0.5, y=0, width=0.5, height=1, unit="fraction")
        assert crop(half, plain(40, 10)).shape[:2] == (10, 20)

    def test_crop_is_cut_at_the_border_and_refused_outside(self) -> None:
        assert crop(CropConfig(x=50, y=30, width=99, height=99), PICTURE).shape[:2] == (7, 3)
        with pytest.raises(InvalidInput, match="outside"):
            crop(CropConfig(x=60, y=0, width=5, height=5), PICTURE)


class TestToTensor:
    def test_letterbox_keeps_the_aspect_ratio_on_grey(self) -> None:
        result = to_tensor(ToTensorConfig(width=64, height=64), plain(100, 50))
        array, transform = result.arrays[""], result.transform
        assert array.shape == (1, 3, 64, 64)
        assert array[0, :, 0, 0].tolist() == pytest.approx([114 / 255] * 3)
        assert array[0, :, 32, 32].tolist() == pytest.approx([30 / 255, 20 / 255, 10 / 255])
        assert transform is not None
        assert (transform.pad_x, transform.pad_y, transform.scale_x) == (0, 16, 0.64)
        assert transform.original_size == (50, 100)

    def test_a_point_of_the_picture_is_where_the_transform_says(self) -> None:
        picture = plain(400, 300)
        picture[180:220, 100:140] = 255
        result = to_tensor(ToTensorConfig(width=320, height=320), picture)
        transform = result.transform
        assert transform is not None
        x, y = 120 * transform.scale_x + transform.pad_x, 200 * transform.scale_y + transform.pad_y
        bright = result.arrays[""][0, 0] > 0.9
        rows, columns = np.nonzero(bright)
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x, y), abs=0.5)

    def test_stretch_scales_each_axis(self) -> None:
        config = ToTensorConfig(width=50, height=20, letterbox=False)
        result = to_tensor(config, plain(100, 100))
        assert result.transform is not None
        assert (result.transform.scale_x, result.transform.scale_y) == (0.5, 0.2)
        assert np.ptp(result.arrays[""][0, 0]) == 0

    def test_values_layout_and_name_follow_the_configuration(self) -> None:
        config = ToTensorConfig(
            width=8, height=6, letterbox=False, color="bgr", layout="nhwc",
            scale=1, mean=(1, 2, 3), std=(2, 4, 5), input="images",
        )  # fmt: skip
        array = to_tensor(config, plain(8, 6)).arrays["images"]
        assert array.shape == (1, 6, 8, 3)
        assert array.flags.c_contiguous
        assert array[0, 3, 3].tolist() == pytest.approx([4.5, 4.5, 5.4])

    @pytest.mark.parametrize("layout", ["nchw", "nhwc"])
    def test_bytes_are_left_as_they_are(self, layout: str) -> None:
        config = ToTensorConfig.model_validate(
            {"width": 8, "height": 6, "letterbox": False, "dtype": "uint8", "layout": layout}
        )
        array = to_tensor(config, plain(8, 6)).arrays[""]
        assert array.dtype == np.uint8
        pixel = array[0, 0, 0] if layout == "nhwc" else array[0, :, 0, 0]
        assert pixel.tolist() == [30, 20, 10]

    def test_nonsense_is_refused_with_the_configuration(self) -> None:
        with pytest.raises(ValidationError, match="uint8"):
            ToTensorConfig(dtype="uint8", scale=2)
        with pytest.raises(ValidationError, match="std"):
            ToTensorConfig(std=(1, 0, 1))

    def test_one_pixel_high_pictures_survive(self) -> None:
        assert to_tensor(ToTensorConfig(), plain(5000, 1)).arrays[""].shape == (1, 3, 640, 640)


def test_jpeg_to_yolov5_is_decode_and_letterbox() -> None:
    jpeg = cv2.imencode(".jpg", plain(320, 240))[1].tobytes()
    result = jpeg_to_yolov5(JpegToYoloConfig(), jpeg)
    expected = to_tensor(ToTensorConfig(), decode(DecodeConfig(), jpeg))
    assert np.array_equal(result.arrays[""], expected.arrays[""])
    assert result.transform == expected.transform


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("ImagePreproc", "image.to_tensor"),
        ("ResizeNode", "image.resize"),
        ("CropNode", "image.crop"),
        ("vision.jpeg_to_yolov5", "vision.jpeg_to_yolov5"),
    ],
)
def test_names_of_the_documents_are_registered(alias: str, name: str) -> None:
    assert NODES.get(alias).names[0] == name


async def test_the_registered_node_reads_the_content() -> None:
    bench = NodeBench()
    node = bench.node("ImagePreproc", width=32, height=32)
    result = await bench.run(node, message(FILES["jpeg"]))
    assert isinstance(result, Tensors)
    assert result.arrays[""].shape == (1, 3, 32, 32)
