"""Which directories of models an application opens."""

import os
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from cli.main import cli
from deployments.args import PROJECT, AppArgs
from deployments.checks.validate import validate_file
from deployments.repositories import VARIABLE, from_environment, open_repository
from tests.fakes.server import TERMINAL
from tests.unit.deployments.site import Site


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the model `nose` alone, which the environment names."""
    version = tmp_path / "other" / "nose" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
    return tmp_path / "other"


def test_the_environment_goes_before_what_is_configured(site: Site, other: Path) -> None:
    assert other.is_dir()
    assert open_repository(AppArgs(repositories=(site.zoo,))).names() == ("nose",)


@pytest.mark.parametrize("value", [None, "", os.pathsep])
def test_an_environment_that_names_none_changes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, value)
    assert open_repository(AppArgs(repositories=(site.zoo,))).names() == ("air", "eye")


def test_the_environment_names_several(
    site: Site, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, os.pathsep.join(map(str, (other, site.zoo))))
    assert open_repository(AppArgs()).names() == ("air", "eye", "nose")
    monkeypatch.setenv(VARIABLE, f"models/zoo{os.pathsep}{other}")
    assert from_environment() == (PROJECT / "models" / "zoo", other)


def test_a_directory_that_is_not_there_is_named_with_the_variable(
    other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"{other}{os.pathsep}/nowhere/zoo")
    with pytest.raises(ConfigurationError) as caught:
        open_repository(AppArgs())
    assert str(caught.value) == f"{VARIABLE}: there is no directory /nowhere/zoo"


def test_a_site_is_checked_with_the_models_of_the_environment(site: Site, other: Path) -> None:
    missing = site.lines(validate_file(site.serve).missing)
    assert "model 'air' is in no repository; there are: nose" in missing[0]
    air = other / "air" / "1"
    air.mkdir(parents=True)
    (air / "model.onnx").touch()
    site.pipelines.write_text("pipelines: [{id: sense, model: air}]\n")
    assert validate_file(site.pipelines).good


def test_a_site_is_not_checked_against_what_the_environment_replaces(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(site.zoo))
    site.serve.write_text(site.serve.read_text().replace(f"[{site.zoo}]", "[/nowhere/zoo]"))
    assert validate_file(site.serve).good


def test_the_command_names_the_variable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{site.zoo}{os.pathsep}/nowhere/zoo")
    for file in (site.serve, site.pipelines):
        result = TERMINAL.invoke(cli, ["validate", str(file)])
        assert result.exit_code == 1
        assert result.output == f"{VARIABLE}: there is no directory /nowhere/zoo\n"
