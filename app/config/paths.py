"""Paths in a configuration file start at the file, not at where a process happens to run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

_FOLDER = "folder"


def context_of(file: str) -> Mapping[str, Path]:
    """What validation is told of the file that is read; nothing for text that is in none."""
    return {_FOLDER: Path(file).resolve().parent} if file else {}


def beside_its_file(path: str, info: ValidationInfo) -> str:
    """An absolute path where the file is known; what was given, where there is none."""
    folder = info.context.get(_FOLDER) if isinstance(info.context, Mapping) else None
    return str(folder / path) if isinstance(folder, Path) and path else path


PathInFile = Annotated[str, AfterValidator(beside_its_file)]
"""A path as text, since it may hold a pattern."""
