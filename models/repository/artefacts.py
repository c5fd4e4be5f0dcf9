"""Addresses of artefacts: where the file to load is. Nothing of it is read here.

Four forms: a path inside the model's directory, `file:///PATH`, `package://PACKAGE/PATH` for a file
that an installed Python package brings along, and `https://...`, which is kept in a cache.

A directory stands for the file of its own name in it: Triton's form of a model with external data,
`1/model.onnx/model.onnx`. Source: the README of Triton's ONNX Runtime backend.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

CACHE_VARIABLE = "MANTA_ARTEFACT_CACHE"
DEFAULT_CACHE = Path("~/.cache/manta/artefacts")


def is_remote(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https")


def cached(address: str, digest: str) -> Path:
    """Where the artefact at `address` is kept, whether it is there yet or not."""
    suffix = Path(urlsplit(address).path).suffix
    return cache_directory() / f"{digest.lower()}{suffix}"


def cache_directory() -> Path:
    """Where this machine keeps what it need not fetch or find out again."""
    return Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE).expanduser()


def find_artefact(directory: Path, address: str) -> Path:
    """The file at `address`, `directory` being the model's. Raises ValueError if there is none."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        path = contained(directory, address)
    elif scheme == "package":
        path = _in_package(rest)
    elif scheme == "file":
        path = _of_url(address)
    else:
        raise ValueError(
            f"{address!r} is no address of an artefact: write a path inside the model's "
            "directory, file:///PATH or package://PACKAGE/PATH"
        )
    if path.is_dir() and (path / path.name).is_file():
        return path / path.name
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def contained(directory: Path, relative: str) -> Path:
    """`relative` below `directory`, links followed. Raises ValueError if it leads elsewhere."""
    root = directory.resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise ValueError(f"{relative!r} leads out of {directory}")
    return path


def _of_url(address: str) -> Path:
    parts = urlsplit(address)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise ValueError(f"{address!r} is not a local file: write file:///PATH")
    return Path(unquote(parts.path))


def _in_package(address: str) -> Path:
    """Looks for the package's place only: importing it could take long, or do anything."""
    package, _, inside = address.partition("/")
    if not package.isidentifier() or not inside:
        raise ValueError(f"write package://PACKAGE/PATH, not package://{address}")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"the Python package {package!r} is not installed")
    return contained(Path(next(iter(spec.submodule_search_locations))), inside)
