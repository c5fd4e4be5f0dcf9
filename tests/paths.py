"""Where the tests find files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Weights and photographs beside the checkout; tests that need them skip where they are absent."""
