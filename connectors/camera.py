"""Cameras of this machine, through OpenCV."""

import asyncio
import re
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from app.config.connectors import ConnectorConfig
from app.config.paths import beside_its_file
from app.errors import EndOfStream, NotConnected
from app.interfaces import Clock, Received
from app.registry import SOURCES
from app.types import Array, Message


def _valid_device(value: int | str) -> int | str:
    # FFmpeg would open `concat:`, `http:` and other protocols; a camera is a number or a file.
    if isinstance(value, str) and re.match(r"^[A-Za-z][A-Za-z0-9+.-]+:", value):
        raise ValueError("must be a device number or a path, not an address")
    if isinstance(value, int) and value < 0:
        raise ValueError("must not be negative")
    return value


def _placed(value: int | str, info: ValidationInfo) -> int | str:
    return value if isinstance(value, int) else beside_its_file(value, info)


class CameraConfig(ConnectorConfig):
    """`device` is a number (0 is the first camera), a device path, or a video file.

    A file is played at `fps`, as fast as it can be read where that is absent, and then ends.
    `width`, `height` and `fps` are asked of a camera, which may answer with what it can.
    """

    type: Literal["camera", "CameraSource"] = "camera"
    device: Annotated[int | str, AfterValidator(_valid_device), AfterValidator(_placed)] = 0
    width: int | None = Field(default=None, ge=1, le=16384)
    height: int | None = Field(default=None, ge=1, le=16384)
    fps: float | None = Field(default=None, gt=0, le=1000)
    pipeline: str = ""
    max_queue_depth: int | None = Field(default=2, ge=1, le=1000)

    def routes(self) -> tuple[str, ...]:
        return (self.pipeline,) if self.pipeline else ()


class CameraSource:
    """Frames as uint8 arrays (height, width, 3), blue first, not to be written to.

    OpenCV blocks, so all its calls run on one thread, one after the other: releasing a device that
    is being read crashes some drivers. The runner reads on while frames are processed and keeps
    the newest, so every frame left out is counted.
    """

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._thread: ThreadPoolExecutor | None = None
        self._capture: cv2.VideoCapture | None = None
        self._next_frame = 0.0

    @property
    def _is_file(self) -> bool:
        return isinstance(self._config.device, str) and Path(self._config.device).is_file()

    async def connect(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"camera-{self._config.id}")
        loop = asyncio.get_running_loop()
        self._capture = await loop.run_in_executor(self._thread, self._open)
        self._next_frame = self._clock.monotonic()

    async def read(self) -> Received:
        capture = self._capture
        if capture is None:
            raise NotConnected("the camera is not open")
        if self._is_file and self._config.fps is not None:
            await self._clock.sleep(max(0.0, self._next_frame - self._clock.monotonic()))
            self._next_frame += 1.0 / self._config.fps
        loop = asyncio.get_running_loop()
        frame = await loop.run_in_executor(self._thread, _read_frame, capture)
        if frame is None:
            if self._is_file:
                raise EndOfStream
            raise NotConnected(f"camera {self._config.device!r} gives no more frames")
        return Received(self._message(frame), _nothing_to_acknowledge)

    async def close(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, capture.release)
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def _open(self) -> cv2.VideoCapture:
        config = self._config
        device = config.device
        if isinstance(device, str) and not Path(device).exists():
            raise NotConnected(f"there is no camera {device!r}: no such file")
        if isinstance(device, int) and not _may_exist(device):
            raise NotConnected(f"there is no camera {device}")
        capture = cv2.VideoCapture(device)
        if not capture.isOpened():
            capture.release()
            raise NotConnected(f"camera {device!r} cannot be opened: is another program using it?")
        for setting, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, config.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, config.height),
            (cv2.CAP_PROP_FPS, config.fps),
        ):
            if value is not None:
                capture.set(setting, value)
        return capture

    def _message(self, frame: Array) -> Message:
        return Message(
            id=uuid.uuid4().hex,
            source=self._config.id,
            content=frame,
            captured_at=self._clock.time(),
            pipeline=self._config.pipeline,
            metadata={"connector": self._config.id},
        )


def _may_exist(number: int) -> bool:
    """Whether Linux has this device, which spares OpenCV's noise; elsewhere only opening tells."""
    return sys.platform != "linux" or Path(f"/dev/video{number}").exists()


def _read_frame(capture: cv2.VideoCapture) -> Array | None:
    good, frame = capture.read()
    if not good:
        return None
    array: Array = np.ascontiguousarray(frame)
    array.flags.writeable = False
    return array


async def _nothing_to_acknowledge(_accepted: bool) -> None:
    """A camera keeps no frames."""


SOURCES.register("camera", CameraConfig, CameraSource, aliases=("CameraSource",))
