"""Tensors in memory that a client on the same machine shares with the server.

The format: Triton's System Shared Memory extension. A region is a part of a POSIX shared memory
object, under a name that requests use. Why its bytes are copied, never mapped, and what keeps
callers away from other objects: docs/adr/0011-shared-memory.md.
"""

import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from pydantic import Field, field_validator

from app.api.codec.fields import Fields, text, whole
from app.errors import ConfigurationError, InvalidInput, NotSupported, RegionNotFound, TooLarge
from app.registry import ComponentConfig

OBJECTS = Path("/dev/shm")  # noqa: S108 - where shm_open(3) keeps objects on Linux
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_OFF = (
    "system shared memory is switched off here; shared_memory, in the args of the gateway and of"
    " the model's application in serve_config.yaml, switches it on"
)
_RESERVED = ("plasma", "psm_", "sem.")
"""How names of Ray's, Python's and the C library's own objects begin."""


class SharedMemoryConfig(ComponentConfig):
    """Objects that callers may name begin with `prefix`; a region has at most `max_bytes`.

    `registry` is a directory of this machine; processes with the same one know the same regions.
    """

    prefix: str = Field(default="manta_", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{2,63}$")
    max_regions: int = Field(default=64, ge=1, le=10_000)
    max_bytes: int = Field(default=1024**3, ge=1)
    registry: Path = Path("var/shared_memory")

    @field_validator("prefix")
    @classmethod
    def _is_nobody_elses(cls, prefix: str) -> str:
        for name in _RESERVED:
            if name.startswith(prefix) or prefix.startswith(name):
                raise ValueError(f"objects whose names begin with {name!r} are the server's own")
        return prefix


@dataclass(frozen=True, slots=True)
class Region:
    """`device` and `inode` are the object's when it was registered, `offset` is within it."""

    name: str
    key: str
    offset: int
    byte_size: int
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tensor lies in a region, in bytes; `where` is the field of the request."""

    region: str
    offset: int
    byte_size: int
    where: str


def placement_of(options: Fields, where: str) -> Placement | None:
    """What the parameters of a tensor say of shared memory, if they do."""
    if "shared_memory_region" not in options:
        return None
    field = f"{where}.parameters."
    region = text(options, "shared_memory_region", f"{where}.parameters")
    size = whole(options, "shared_memory_byte_size", field)
    if size is None:
        raise InvalidInput(f"{field}shared_memory_byte_size: must be a whole number from 0")
    offset = whole(options, "shared_memory_offset", field) or 0
    return Placement(region, offset, size, f"{field}shared_memory_region")


def switched_on(memory: "SharedMemory | None") -> "SharedMemory":
    """Raises NotSupported, naming the setting."""
    if memory is None:
        raise NotSupported(_OFF)
    return memory


class SharedMemory:
    """The regions of this machine. Nothing is held between calls: a region is a file in the
    registry, and its object is opened and checked anew each time."""

    def __init__(self, config: SharedMemoryConfig, registry: Path, objects: Path = OBJECTS) -> None:
        """Raises ConfigurationError where others could write into `registry`."""
        self._config = config
        self._registry = registry
        self._objects = objects
        self._key = re.compile(rf"/?({re.escape(config.prefix)}[A-Za-z0-9_.-]{{1,180}})")
        _make_private(registry)

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Raises InvalidInput naming the field, TooLarge above a limit of the configuration."""
        if not _NAME.fullmatch(name):
            raise InvalidInput("name: must be 1 to 128 letters, digits, or any of _ . : -")
        match = self._key.fullmatch(key)
        if match is None:
            raise InvalidInput(
                f"key: must be the name of a shared memory object that begins with"
                f" {self._config.prefix!r}"
            )
        if not 0 < byte_size <= self._config.max_bytes:
            raise TooLarge(f"byte_size: must be 1 to {self._config.max_bytes}")
        if self._is_alive(name):
            raise InvalidInput(f"name: a region {name!r} is registered already")
        with self._opened(match[1], os.O_RDWR, "key") as (descriptor, found):
            if offset + byte_size > os.fstat(descriptor).st_size:
                raise InvalidInput("byte_size: the object ends before offset + byte_size")
            region = Region(name, key, offset, byte_size, found.st_dev, found.st_ino)
        self._make_room()
        self._write_entry(region)

    def unregister(self, name: str | None = None) -> None:
        """One region, or all of them. One that is not there is no error."""
        names = self._names() if name is None else [name] if _NAME.fullmatch(name) else []
        for each in names:
            self._entry(each).unlink(missing_ok=True)

    def regions(self, name: str | None = None) -> list[Region]:
        """Raises RegionNotFound."""
        if name is None:
            return [region for each in self._names() if (region := self._find(each)) is not None]
        region = self._find(name)
        if region is None:
            raise RegionNotFound(f"there is no shared memory region {name!r}")
        return [region]

    def check(self, place: Placement) -> Region:
        """Raises InvalidInput where the region is not registered or too short."""
        region = self._find(place.region)
        if region is None:
            raise InvalidInput(f"{place.where}: there is no region {place.region!r}")
        if place.offset + place.byte_size > region.byte_size:
            raise InvalidInput(
                f"{place.where}: offset + byte_size is {place.offset + place.byte_size}, but the"
                f" region has {region.byte_size} bytes"
            )
        return region

    def read(self, place: Placement) -> bytes:
        """A copy. Raises InvalidInput where the object is gone or shorter than it was."""
        region = self.check(place)

        def read(descriptor: int, start: int, done: int) -> int:
            part = os.pread(descriptor, place.byte_size - done, start)
            parts.append(part)
            return len(part)

        parts: list[bytes] = []
        self._transfer(region, place, place.byte_size, os.O_RDONLY, read)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, place: Placement, data: bytes | memoryview) -> int:
        """How many bytes were written. Raises InvalidInput where they have no room."""
        source = memoryview(data)
        if source.nbytes > place.byte_size:
            raise InvalidInput(
                f"{place.where}: the output needs {source.nbytes} bytes, not {place.byte_size}"
            )
        region = self.check(place)

        def write(descriptor: int, start: int, done: int) -> int:
            return os.pwrite(descriptor, source[done:], start)

        self._transfer(region, place, source.nbytes, os.O_RDWR, write)
        return source.nbytes

    def _transfer(
        self,
        region: Region,
        place: Placement,
        size: int,
        mode: int,
        some: Callable[[int, int, int], int],
    ) -> None:
        """Calls `some` with a descriptor, where to start and what is done, until `size` is done."""
        gone = InvalidInput(f"{place.where}: the memory of this region is not there any more")
        start, done = region.offset + place.offset, 0
        try:
            with self._opened(region.key.lstrip("/"), mode, place.where) as (descriptor, found):
                if (found.st_dev, found.st_ino) != (region.device, region.inode):
                    raise gone
                if start + size > found.st_size:
                    raise gone
                while done < size:
                    moved = some(descriptor, start + done, done)
                    if moved == 0:
                        raise gone
                    done += moved
        except OSError as error:
            raise gone from error

    @contextmanager
    def _opened(self, key: str, mode: int, where: str) -> Iterator[tuple[int, os.stat_result]]:
        """A descriptor of an object that is a plain one of this user, under this name alone."""
        refused = InvalidInput(
            f"{where}: there is no such shared memory object of the user that the server runs as"
        )
        try:
            flags = mode | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self._objects / key, flags)
        except OSError as error:
            raise refused from error
        try:
            found = os.fstat(descriptor)
            is_plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
            if not is_plain or found.st_uid != os.geteuid():
                raise refused
            yield descriptor, found
        finally:
            os.close(descriptor)

    def _is_alive(self, name: str) -> bool:
        """Whether the region is registered and its object is there; one that is not is removed."""
        region = self._find(name)
        if region is None:
            return False
        try:
            with self._opened(region.key.lstrip("/"), os.O_RDONLY, "key") as (_, found):
                if (found.st_dev, found.st_ino) == (region.device, region.inode):
                    return True
        except InvalidInput:
            pass
        self._entry(name).unlink(missing_ok=True)
        return False

    def _make_room(self) -> None:
        most = self._config.max_regions
        if len(self._names()) >= most and sum(map(self._is_alive, self._names())) >= most:
            raise TooLarge(f"{most} shared memory regions are registered already")

    def _names(self) -> list[str]:
        names = (entry.name for entry in self._registry.iterdir())
        return sorted(name for name in names if _NAME.fullmatch(name))

    def _entry(self, name: str) -> Path:
        return self._registry / name

    def _find(self, name: str) -> Region | None:
        if not _NAME.fullmatch(name):
            return None
        try:
            return Region(**orjson.loads(self._entry(name).read_bytes()))
        except FileNotFoundError:
            return None

    def _write_entry(self, region: Region) -> None:
        """Whole or not at all, and never over another."""
        draft = self._registry / f".{uuid.uuid4().hex}"
        draft.write_bytes(orjson.dumps(asdict(region)))
        try:
            self._entry(region.name).hardlink_to(draft)
        except FileExistsError as error:
            raise InvalidInput(f"name: a region {region.name!r} is registered already") from error
        finally:
            with suppress(OSError):
                draft.unlink()


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        reason = f"{directory} cannot be made: {error.strerror}"
        raise ConfigurationError(reason, field="shared_memory.registry") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ConfigurationError(
            f"{directory} must be a directory that only the server's user can write to",
            field="shared_memory.registry",
        )
