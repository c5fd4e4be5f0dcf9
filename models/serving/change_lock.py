"""One change of a model at a time, in this process and in others."""

import asyncio
import fcntl
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TextIO

from app.errors import ModelNotReady

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0
"""How long a change may wait for other changes of the same model."""

POLL_SECONDS = 0.05


class ChangeLock:
    """Who may change which model. Processes that share `directory` share the turns.

    There is a file for each model that was ever changed, locked by whoever changes it; who ends,
    however it ends, holds nothing any more. Where no file can be written, other processes are not
    waited for.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._here: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def taken(self, name: str) -> bool:
        """Whether this process changes the model, or waits to."""
        return name in self._here and self._here[name].locked()

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for the turn and hold it. Raises ModelNotReady if it does not come."""
        too_late = ModelNotReady(f"model {name!r} is being changed by others; try again")
        with ExitStack() as held:
            try:
                await asyncio.wait_for(self._here[name].acquire(), PATIENCE_SECONDS)
            except asyncio.TimeoutError:
                raise too_late from None
            held.callback(self._here[name].release)
            try:
                file = held.enter_context(self._file(name))
            except OSError as error:
                logger.warning("model %r is changed without a lock: %s", name, error)
                yield
                return
            waited = 0.0
            while not _locked(file):
                if waited >= PATIENCE_SECONDS:
                    raise too_late
                await asyncio.sleep(POLL_SECONDS)
                waited += POLL_SECONDS
            yield

    @contextmanager
    def _file(self, name: str) -> Iterator[TextIO]:
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / f".{name}.changing").open("w") as file:
            yield file


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
