"""What every command waits for: the imports of the command line itself."""

import subprocess
import sys

from tests.paths import ROOT

SLOW = ("ray", "cv2", "fastapi", "pydantic", "connectors", "deployments", "models")
"""None of them is needed to ask a server, and together they take longer than asking it."""


def test_what_takes_long_is_left_to_the_command_that_needs_it() -> None:
    code = f"import sys, cli.main; print([name for name in {SLOW!r} if name in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"
