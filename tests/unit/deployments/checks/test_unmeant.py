"""`manta validate` says what has no effect, or another one than a reader would think."""

from pathlib import Path

import pytest

from deployments.checks.validate import validate_file

GATEWAY = """gateway:
  host: 127.0.0.1
  pool_size: 4
  timeout_s: 5
pipelines:
  - {id: look, preprocess: image.decode}
"""
LISTED = """agents:
  door:
    type: person_in_zone
    zone: frontdoor
    dispatcher: log
  yard:
    type: person_in_zone
    zone: yard
    dispatcher: log
    polygon: [[0, 0], [1, 0], [1, 1]]
  gate:
    type: person_in_zone
    zone: [[0, 0], [1, 0], [1, 1]]
    dispatcher: log
actions:
  log: {type: log}
pipelines:
  - {id: look, preprocess: image.decode}
"""
IN_A_GRAPH = """name: look
nodes:
  - {id: image, type: image.decode}
  - id: door
    type: person_in_zone
    params:
      zone: frontdoor
      dispatcher: log
edges:
  - {from: image, to: door}
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GATEWAY, ["2 gateway.host has no effect", "3 gateway.pool_size has no effect"]),
        (LISTED, ["4 agents.door.zone has no polygon, so 'frontdoor' is the whole picture"]),
        (IN_A_GRAPH, ["7 nodes[1].params.zone has no polygon, so 'frontdoor' is the whole"]),
    ],
)
def test_it_is_told_with_its_line(tmp_path: Path, text: str, told: list[str]) -> None:
    file = tmp_path / "pipelines.yaml"
    file.write_text(text)
    report = validate_file(file)
    assert report.good
    found = [f"{error.line} {error.field} {error.reason}" for error in report.warnings]
    assert len(found) == len(told)
    for one, start in zip(found, told, strict=True):
        assert one.startswith(start)
