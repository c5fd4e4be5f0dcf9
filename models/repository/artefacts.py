"""Addresses of artefacts: where the file to load is.

Three forms: a path inside the model's directory, `file:///PATH`, and `package://PACKAGE/PATH` for a
file that an installed Python package brings along.
"""

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit


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
