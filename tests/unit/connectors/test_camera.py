from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from app.errors import EndOfStream, NotConnected
from connectors.camera import CameraConfig, CameraSource
from tests.fakes.context import StillClock

FRAMES = 5


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write MJPEG")
    for number in range(FRAMES):
        writer.write(np.full((48, 64, 3), number * 50, np.uint8))
    writer.release()
    return path


async def test_reads_frames_until_the_file_ends(video: Path) -> None:
    source = CameraSource(CameraConfig(id="cam", device=str(video), pipeline="p"), StillClock())
    await source.connect()
    brightness = []
    for _ in range(FRAMES):
        message = (await source.read()).message
        frame = message.content
        assert isinstance(frame, np.ndarray)
        assert (frame.shape, frame.dtype, frame.flags.writeable) == ((48, 64, 3), np.uint8, False)
        assert (message.source, message.pipeline) == ("cam", "p")
        brightness.append(round(float(frame.mean())))
    assert brightness == pytest.approx([0, 50, 100, 150, 200], abs=3)
    with pytest.raises(EndOfStream):
        await source.read()
    await source.close()


async def test_a_file_is_played_at_its_rate(video: Path) -> None:
    clock = StillClock()
    source = CameraSource(CameraConfig(id="cam", device=str(video), fps=4), clock)
    await source.connect()
    times = [(await source.read()).message.captured_at - 1000.0 for _ in range(3)]
    await source.close()
    assert times == [0.0, 0.25, 0.5]


@pytest.mark.parametrize("device", [63, "/dev/video63"])
async def test_a_missing_camera_is_told_by_name(device: int | str) -> None:
    source = CameraSource(CameraConfig(id="cam", device=device), StillClock())
    with pytest.raises(NotConnected, match=r"there is no camera .*63"):
        await source.connect()
    await source.close()


async def test_a_file_that_is_no_video_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    path.touch()
    source = CameraSource(CameraConfig(id="cam", device=str(path)), StillClock())
    with pytest.raises(NotConnected, match="cannot be opened"):
        await source.connect()
    await source.close()


@pytest.mark.parametrize(
    "device", ["concat:/etc/passwd|/etc/shadow", "http://camera/", "rtsp://camera/", "pipe:0", -1]
)
def test_addresses_are_no_devices(device: object) -> None:
    with pytest.raises(ValidationError):
        CameraConfig.model_validate({"id": "cam", "device": device})


def test_a_short_queue_by_default_since_frames_are_large() -> None:
    config = CameraConfig(id="cam")
    assert (config.max_queue_depth, config.on_full) == (2, "drop_oldest")
