"""Whether the files of a version are those that `model.yaml` means, and of a wanted size."""

import hmac
from collections.abc import Collection
from pathlib import Path

from app.errors import ConfigurationError
from models.repository.located import Located

MEGABYTE = 1_000_000


def check_size(path: Path, size: int, max_megabytes: int) -> None:
    """Raises ConfigurationError for a `size`, in bytes, that is over the limit."""
    if size > max_megabytes * MEGABYTE:
        limit = f"max_model_size_mb allows {max_megabytes}"
        raise ConfigurationError(f"has {size / MEGABYTE:.1f} MB; {limit}", str(path))


def check_sum(located: Located, name: str, digest: str) -> None:
    """Raises ConfigurationError for a file of another SHA-256 than `digest`, in hexadecimal, where
    sums are given for the version: each of its files needs its own then."""
    if not located.sums:
        return
    if name not in located.sums:
        todo = "give each file of the model its own, {FILE: SHA-256}"
        if located.url is not None:
            todo = "external data is not downloaded, keep the model in the repository"
        reason = f"there is none for {name!r}: {todo}"
        raise located.config.error(reason, "sha256", located.version)
    if not hmac.compare_digest(digest, located.sums[name]):
        reason = f"{name} has another SHA-256: it is damaged, or not the file that was meant"
        raise located.config.error(reason, "sha256", located.version)


def check_names(located: Located, names: Collection[str]) -> None:
    """A sum that is given is verified: one of a file that the model does not have cannot be."""
    for name in located.sums:
        if name not in names:
            known = ", ".join(sorted(names))
            reason = f"{name!r} is no file of the model; it has: {known}"
            raise located.config.error(reason, "sha256", located.version)
