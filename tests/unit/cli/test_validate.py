"""`manta validate` as it is typed; what it finds is tested where it is found."""

import re
from pathlib import Path

import pytest

from cli.main import cli
from tests.fakes.server import TERMINAL
from tests.paths import ROOT


def test_without_files_it_checks_what_a_server_would_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = TERMINAL.invoke(cli, ["validate"])
    assert result.exit_code == 0, result.output
    for title in ("Models", "Pipelines", "Connectors"):
        assert title in result.output
    assert "image.decode → text.detect_input → infer(text-detect)" in result.output


def test_elsewhere_it_checks_the_projects_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert TERMINAL.invoke(cli, ["validate"]).exit_code == 0


def test_a_problem_is_one_line_that_begins_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "p.yaml"
    path.write_text("pipelines:\n- id: a\n  preprocess: image.decode\n  fallback: b\n")
    result = TERMINAL.invoke(cli, ["validate", str(path)])
    assert result.exit_code == 1
    assert result.output == (
        "p.yaml:4: pipelines[0].fallback: fallback names no other pipeline 'b'\n"
    )


def test_what_is_missing_here_is_told_apart_from_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("pipelines:\n- id: a\n  model: nowhere-to-be-found\n")
    result = TERMINAL.invoke(cli, ["validate", "p.yaml"])
    assert result.exit_code == 1
    assert result.output == (
        "p.yaml:3: not available on this machine: pipelines[0].model: pipeline 'a' uses model"
        " 'nowhere-to-be-found', which is in no repository\n"
    )


def test_a_warning_is_told_and_is_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flows = (ROOT / "config" / "pipelines.yaml").read_text()
    (tmp_path / "p.yaml").write_text(f"{flows}\ngateway: {{limits: {{body_bytes: 2000}}}}\n")
    text = (ROOT / "serve_config.yaml").read_text()
    own = f"args:\n      pipelines_file: {tmp_path}/p.yaml\n      # Everything over"
    assert "args:\n      # Everything over" in text
    (tmp_path / "s.yaml").write_text(text.replace("args:\n      # Everything over", own))
    result = TERMINAL.invoke(cli, ["validate", "s.yaml"])
    assert result.exit_code == 0
    first, second = result.output.splitlines()[:2]
    place = r"s\.yaml:\d+: warning: applications\[1\]\.args\.limits\.body_bytes: 67108864 in "
    assert re.match(place, first)
    assert "in application 'text-recognise', but 2000 in 'gateway'" in second
    assert "Models" in result.output


def test_one_wrong_file_of_several_is_enough(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("pipelines: [{id: a, preprocess: image.decode}]\n")
    bad.write_text("pipelines: [{id: a}]\n")
    assert TERMINAL.invoke(cli, ["validate", str(good)]).exit_code == 0
    result = TERMINAL.invoke(cli, ["validate", str(good), str(bad)])
    assert result.exit_code == 1
    assert "image.decode" in result.output
    assert "needs preprocess, model or postprocess" in result.output


def test_the_version() -> None:
    result = TERMINAL.invoke(cli, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("manta ")
