"""Files that would run code if anyone opened them the way their kind is opened."""

from pathlib import Path

CANARY = "the-file-was-unpickled"
ARTEFACTS = (
    *("model.pkl", "model.pt", "model.keras", "model.h5"),
    *("model.py", "model.zip", "a.tar.gz"),
)


class Canary:
    """Unpickling it leaves a file behind."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / CANARY

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._file,)
