from pathlib import Path

import pytest

from benchmarks import report


def test_a_part_that_is_not_measured_again_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, notes = tmp_path / "RESULTS.md", tmp_path / "NOTES.md"
    notes.write_text("Some notes.\n")
    monkeypatch.setattr(report, "RESULTS", results)
    monkeypatch.setattr(report, "NOTES", notes)
    report.write_results({"product": "old product", "http": "old comparison"})
    report.write_results({"http": "new comparison"})
    text = results.read_text()
    assert text.index("new comparison") < text.index("old product") < text.index("Some notes.")
    assert "old comparison" not in text
    assert text.count("Some notes.") == 1
