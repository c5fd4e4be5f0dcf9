"""Models, and files that are none of those that can be checked."""

from pathlib import Path

import pytest

from deployments.checks.validate import validate_file
from tests.unit.deployments.site import Site


def test_a_wrong_model_yaml_is_found_with_its_line(site: Site) -> None:
    path = site.model("air", "description: x\nmax_batch: 3\n")
    report = validate_file(site.serve)
    problem = "zoo/air/model.yaml:2: max_batch: is not a known field"
    assert [line[: len(problem)] for line in site.lines(report.problems)] == [problem]
    assert site.lines(validate_file(path).problems) == site.lines(report.problems)


def test_a_config_pbtxt_is_checked_as_a_model_yaml_is(site: Site) -> None:
    path = site.folder / "zoo" / "triton" / "config.pbtxt"
    path.parent.mkdir()
    (path.parent / "1").mkdir()
    path.write_text("max_batch_size: 4\nsequence_batching { }\n")
    [problem] = site.lines(validate_file(path).problems)
    where = "zoo/triton/config.pbtxt:2: sequence_batching"
    assert problem == f"{where}: is not supported: leave it out"


def test_a_model_yaml_alone_is_checked_alone(site: Site) -> None:
    site.model("eye", "wrong: 1\n")
    report = validate_file(site.model("air", "max_batch_size: 2\n"))
    assert report.good
    assert report.tables[0].rows == (("air", "1", "onnx"),)


def test_an_artefact_that_is_not_there(site: Site) -> None:
    path = site.model("air", "versions:\n  2: 2/model.onnx\n")
    [problem] = site.lines(validate_file(path).problems)
    assert problem.startswith("zoo/air/model.yaml:2: versions.2: there is no file ")


@pytest.mark.parametrize("content", ["", "colour: red\n", "- a\n"])
def test_a_file_of_another_kind(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    [problem] = validate_file(path).problems
    assert problem.reason == "is no serve config, no pipelines file and no model.yaml"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    [problem] = validate_file(tmp_path / "x.yaml").problems
    assert "cannot be read" in problem.reason


def test_no_yaml_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\nb: [\n")
    [problem] = validate_file(path).problems
    assert problem.line == 3
