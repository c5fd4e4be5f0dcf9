"""Places that tests read from."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ZOO = ROOT / "models" / "zoo"
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real weights and photographs that are no part of the project; tests skip where it is absent."""
