"""The files of one version: read once, summed and checked, and copied to where nobody changes them.

ONNX Runtime maps external data into memory, and so would go on with whatever somebody writes into
the file later; where the file is cut short, as `cp` begins, the process dies of SIGBUS. A hard link
would be the same file. A copy whose name is gone once it is loaded takes no more memory than the
original: its pages are those of a file, mapped once.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from app.errors import ConfigurationError
from models.repository.external_data import check_graph, external_data, place_of_data
from models.repository.integrity import check_names, check_size, check_sum
from models.repository.located import Located, runtime_of

PREFIX = "manta-model-"

_CHUNK = 1 << 20
_ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """What a runtime loads.

    path: the artefact, its external data beside it; there until the model is loaded.
    sums: file name -> SHA-256 of the very bytes, in small hexadecimal: what the version is.
    """

    version: str
    path: Path
    sums: Mapping[str, str]


@contextmanager
def private_copy(located: Located, max_megabytes: int) -> Iterator[VersionFiles]:
    """The files of a version, in a directory of their own that is removed at the end.

    Raises ConfigurationError if they are too large, others than `sha256` says, or cannot be copied.
    An error that is raised inside names the original where it names the copy.
    """
    with _private_folder() as folder:
        name = str(folder)
        sums = _read(located, max_megabytes, folder, with_data=True)
        original = str(located.path.resolve().parent)
        try:
            yield VersionFiles(located.version, folder / located.path.name, sums)
        except ConfigurationError as error:
            if name not in str(error):
                raise
            reason, file = (text.replace(name, original) for text in (error.reason, error.file))
            raise ConfigurationError(reason, file, error.line, error.field) from error


def sums_of(located: Located, max_megabytes: int) -> Mapping[str, str]:
    """The SHA-256 of each file of a version as it lies there. Raises as `private_copy` does."""
    with _private_folder() as folder:  # even to look into a graph it must not become shorter
        return _read(located, max_megabytes, folder, with_data=False)


@contextmanager
def _private_folder() -> Iterator[Path]:
    remove_abandoned(Path(gettempdir()))
    try:
        temporary = TemporaryDirectory(prefix=PREFIX)
    except OSError as error:
        reason = f"no directory can be made to load models from: {error.strerror}"
        raise ConfigurationError(reason, field="TMPDIR") from error
    with temporary as name, _held(Path(name)):
        yield Path(name)


def remove_abandoned(folder: Path) -> None:
    """Remove copies that a process left which died while it loaded them."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if left.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                with _held(left):
                    shutil.rmtree(left)


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Hold a lock on it for as long as it is used. Raises OSError where another process does."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _read(
    located: Located, max_megabytes: int, folder: Path, *, with_data: bool
) -> Mapping[str, str]:
    """Sum every file, and write what was summed to `folder`, external data only `with_data`."""
    reader = _Reader(located.path, max_megabytes)
    name = located.path.name
    sums = {name: reader.read(located.path.resolve(), folder / name)}
    check_sum(located, name, sums[name])
    if located.path.suffix == ".onnx" or runtime_of(located.config, located.version) == "onnx":
        locations = sorted(set(external_data(folder / name, said_of=located.path)))
        check_graph(folder / name, located.path)
        for location in locations:
            if location in sums:
                continue
            file = place_of_data(located.path, location)
            sums[location] = reader.read(file, folder / location if with_data else None)
            check_sum(located, location, sums[location])
    check_names(located, sums.keys())
    return sums


class _Reader:
    """Reads the files of one artefact, which together must not be too large."""

    def __init__(self, artefact: Path, max_megabytes: int) -> None:
        self._artefact = artefact
        self._max_megabytes = max_megabytes
        self._size = 0

    def read(self, source: Path, target: Path | None) -> str:
        """The SHA-256 of `source`, its bytes written to `target`. Raises ConfigurationError."""
        try:
            return self._read(source, target)
        except OSError as error:
            what = "copied for loading (TMPDIR says where to)" if target else "read"
            reason = f"cannot be {what}: {error.strerror}"
            raise ConfigurationError(reason, str(source)) from error

    def _read(self, source: Path, target: Path | None) -> str:
        digest = hashlib.sha256()
        target = target or Path(os.devnull)
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file, target.open("wb") as copy:
            before = os.fstat(file.fileno())
            self._check_size(before.st_size)
            size = 0
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                self._check_size(size)
                digest.update(chunk)
                copy.write(chunk)
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            reason = "was written to while it was read: load it again once it is complete"
            raise ConfigurationError(reason, str(source))
        self._size += size
        return digest.hexdigest()

    def _check_size(self, size: int) -> None:
        check_size(self._artefact, self._size + size, self._max_megabytes)
