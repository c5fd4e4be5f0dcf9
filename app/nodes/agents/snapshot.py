"""The agent that keeps pictures with what was found in them."""

import asyncio
import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import orjson
from pydantic import Field

from app.config.paths import PathInFile
from app.errors import InvalidInput
from app.formats.payload import JPEG_START
from app.formats.results import result_json
from app.interfaces import NodeContext
from app.nodes.agents.agent import AgentConfig, action_of
from app.registry import NODES
from app.types import Message

PNG_START = b"\x89PNG\r\n\x1a\n"


class SnapshotArchiveConfig(AgentConfig):
    """Every message is kept in `directory`, in a folder named for pipeline and agent.

    Of more than `max_snapshots` the oldest are deleted.
    """

    type: Literal["snapshot_archive"] = "snapshot_archive"
    directory: PathInFile = Field(default="var/snapshots", validate_default=True)
    max_snapshots: int = Field(default=1000, ge=1)


class SnapshotArchive:
    """Writes the frame and a JSON file beside it: id, source, time and all results.

    Names start with the capture time in milliseconds, so their order is the order of time; the
    same message gives the same name, so a redelivered one is not kept twice. The JSON file is
    renamed into place after the frame is complete. Disk errors are raised as OSError.
    """

    def __init__(self, config: SnapshotArchiveConfig, context: NodeContext) -> None:
        self._config = config
        self._context = context
        name = _file_name(f"{context.pipeline}.{context.id}" if context.pipeline else context.id)
        self._folder = Path(config.directory) / name
        self._kept: OrderedDict[str, None] = OrderedDict()
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        await asyncio.to_thread(self._list)

    async def process(self, message: Message) -> Message | None:
        # One at a time: the list of what is kept belongs to one thread at a time.
        async with self._writing:
            name = await asyncio.to_thread(self._write, message)
        payload = {"snapshot": f"{self._folder.name}/{name}"}
        action = action_of(self._config, self._context, message, payload)
        return message.with_result(self._context.id, [action])

    async def close(self) -> None:
        """Nothing to close."""

    def _list(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        names = sorted(path.stem for path in self._folder.glob("*.json"))
        self._kept = OrderedDict.fromkeys(names)

    def _write(self, message: Message) -> str:
        digest = hashlib.blake2b(f"{message.source}\0{message.id}".encode(), digest_size=8)
        name = f"{max(0, int(message.captured_at * 1000)):013d}-{digest.hexdigest()}"
        frame = _encoded(message.content)
        document = {
            "id": message.id,
            "source": message.source,
            "pipeline": self._context.pipeline,
            "captured_at": message.captured_at,
            "frame": None,
            "results": result_json(message.results),
        }
        if frame is None:
            document["content"] = result_json(message.content)
        else:
            suffix, data = frame
            document["frame"] = name + suffix
            (self._folder / (name + suffix)).write_bytes(data)
        unfinished = self._folder / f"{name}.part"
        unfinished.write_bytes(orjson.dumps(document))
        unfinished.replace(self._folder / f"{name}.json")
        self._kept[name] = None
        self._delete_oldest()
        return name

    def _delete_oldest(self) -> None:
        while len(self._kept) > self._config.max_snapshots:
            name, _ = self._kept.popitem(last=False)
            for path in self._folder.glob(f"{name}.*"):
                path.unlink(missing_ok=True)


def _encoded(content: object) -> tuple[str, bytes] | None:
    """File suffix and bytes of the frame; None where the content is no picture."""
    if isinstance(content, bytes):
        if content.startswith(JPEG_START):
            return ".jpg", content
        return (".png" if content.startswith(PNG_START) else ".bin"), content
    if isinstance(content, np.ndarray):
        if content.dtype != np.uint8 or content.ndim not in (2, 3):
            raise InvalidInput(f"no picture: {content.dtype} of shape {content.shape}")
        _, encoded = cv2.imencode(".jpg", content)
        return ".jpg", encoded.tobytes()
    return None


def _file_name(text: str) -> str:
    """The text with everything replaced that could leave the folder or trouble a file system."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)
    return safe.lstrip(".")[:128] or "_"


NODES.register("snapshot_archive", SnapshotArchiveConfig, SnapshotArchive)
