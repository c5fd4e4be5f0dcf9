"""Schemathesis over the whole OpenAPI document: `python -m tests.faults.fuzz_openapi`.

The document must be true: every status, content type and answer is in it, no request that it
forbids is taken, and none is answered with a 5xx. Whether a request fits a model is more than a
document can say, so it may be refused although it fits the document.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.server import InferencePlane

INSTALLED = importlib.util.find_spec("schemathesis") is not None

KNOWN = """
[parameters]
"path.name" = "identity"
"path.pipeline" = "numbers"
"path.version" = "2"
"""
"""Names that are there: what is made up would only ever be unknown."""


def run(plane: InferencePlane, examples: int, *, known: bool, seed: int = 1) -> str:
    """Try every operation with up to `examples` requests of each phase; what was found, or ''.

    With `known` names, nothing is unloaded, so that they stay known.
    """
    options = [
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)),
        *("--seed", str(seed), "--generation-database", "none", "--no-color", "--warnings", "off"),
        *("--exclude-checks", "positive_data_acceptance", "--continue-on-failure"),
        *(("--exclude-path-regex", "unload$") if known else ()),
    ]
    command = [sys.executable, "-c", "import schemathesis.cli; schemathesis.cli.schemathesis()"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "schemathesis.toml").write_text(KNOWN if known else "")
        done = subprocess.run(
            [*command, "run", f"{plane.base_url}/openapi.json", *options],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    assert "generated" in done.stdout, done.stdout + done.stderr
    return "" if done.returncode == 0 else done.stdout


def main() -> None:
    for known in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            plane = InferencePlane(Path(folder), healthy=True)
            plane.start()
            try:
                found = run(plane, 100, known=known)
            finally:
                plane.stop()
        if found:
            sys.exit(found)


if __name__ == "__main__":
    main()
