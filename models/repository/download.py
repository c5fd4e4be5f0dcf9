"""Artefacts that lie on a web server, kept in a cache directory under their SHA-256.

What is in the cache is used without asking the server, so a box starts without a network.
"""

from pathlib import Path

import httpx

from models.repository.artefacts import cached
from models.repository.checksum import sha256_of
from models.repository.file_lock import alone
from models.repository.located import Located

_ATTEMPTS = 3
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)


class NotDownloaded(Exception):
    """Why an artefact is not here; the message names no file of this machine."""


def fetch(located: Located, max_bytes: int) -> None:
    """Let the artefact of a version be here. Raises ConfigurationError where it cannot be."""
    if located.url is None:
        return
    try:
        download(located.url, located.sums[located.path.name], max_bytes)
    except (NotDownloaded, OSError, httpx.InvalidURL) as error:
        raise located.config.error(str(error), "versions", located.version) from error


def download(address: str, digest: str, max_bytes: int) -> Path:
    """The artefact at `address`, from the cache or from the server.

    A transfer that was broken off goes on where it ended, if the server can. Raises NotDownloaded
    if the server cannot be reached, sends more than `max_bytes` or another file than `digest`, its
    SHA-256 in hexadecimal, or if it cannot be written. Only a broken transfer leaves a part of the
    file, for the next attempt.
    """
    kept = cached(address, digest)
    if kept.is_file():
        return kept
    partial = kept.with_name(f".{kept.name}.part")
    with alone(kept):
        if kept.is_file():
            return kept
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=True) as client:
            try:
                _fetch(client, address, partial, max_bytes)
            except OSError as error:
                partial.unlink(missing_ok=True)  # a disk that is full needs the room
                raise NotDownloaded(f"it cannot be kept: {error.strerror}") from error
        if sha256_of(partial) != digest.lower():
            partial.unlink()
            raise NotDownloaded("the server sent a file with another SHA-256")
        partial.replace(kept)
    return kept


def _fetch(client: httpx.Client, address: str, partial: Path, max_bytes: int) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _append(client, address, partial, max_bytes)
        except httpx.TransportError as error:
            if attempt == _ATTEMPTS:
                reason = f"the transfer failed {_ATTEMPTS} times: {type(error).__name__}"
                raise NotDownloaded(reason) from error
        else:
            return


def _append(client: httpx.Client, address: str, partial: Path, max_bytes: int) -> None:
    """Get what is missing of `partial`; from a server that knows no ranges, all of it."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"accept-encoding": "identity"}
    if have:
        headers["range"] = f"bytes={have}-"
    with client.stream("GET", address, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # it is all there, or longer than the file: the checksum tells
        if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise NotDownloaded(f"the server answers {answer.status_code}")
        goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
        size = have if goes_on else 0
        with partial.open("ab" if goes_on else "wb") as file:
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > max_bytes:
                    break
                file.write(chunk)
    if size > max_bytes:
        partial.unlink()
        raise NotDownloaded(f"the file has more than {max_bytes / 1e6:.0f} MB")
