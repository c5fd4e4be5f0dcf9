"""`manta validate` says which recordings are not there, and the line that names them."""

from pathlib import Path

import pytest

from deployments.checks.validate import validate_file

LISTED = """
connectors:
  - {id: day, type: file, path: recordings/day.jsonl, pipeline: look}
  - {id: album, type: file, path: album, pipeline: look}
pipelines:
  - id: look
    preprocess: image.decode
"""
IN_A_GRAPH = """
name: look
nodes:
  - {id: album, type: file, params: {path: "album/*.png"}}
  - {id: image, type: image.decode}
edges:
  - {from: album, to: image}
"""


def warnings_of(file: Path) -> list[str]:
    report = validate_file(file)
    assert report.good
    return [f"{error.line} {error.field} {error.reason}" for error in report.warnings]


def write(folder: Path, text: str) -> Path:
    file = folder / "pipelines.yaml"
    file.write_text(text)
    return file


def test_what_is_not_there_is_told_with_the_path_that_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    assert warnings_of(write(tmp_path, LISTED)) == [
        f"3 connectors[0].path there is no recording '{tmp_path}/recordings/day.jsonl'",
        f"4 connectors[1].path there are no pictures at '{tmp_path}/album'",
    ]


def test_a_source_in_a_graph_has_its_line_too(tmp_path: Path) -> None:
    assert warnings_of(write(tmp_path, IN_A_GRAPH)) == [
        f"4 nodes[0].params.path there are no pictures at '{tmp_path}/album/*.png'"
    ]


@pytest.mark.parametrize("text", [LISTED, IN_A_GRAPH])
def test_what_is_there_is_not_mentioned(tmp_path: Path, text: str) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "day.jsonl").touch()
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "one.png").touch()
    assert warnings_of(write(tmp_path, text)) == []


def test_a_pattern_that_is_none_does_not_end_the_check(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    text = LISTED.replace("path: album", "path: 'album/**x'")
    assert len(warnings_of(write(tmp_path, text))) == 2
