from pathlib import Path

import pytest

from app.errors import ConfigurationError, ModelNotFound
from models.repository.repository import ModelRepository
from tests.paths import ZOO
from tests.unit.models.onnx_files import identity


@pytest.fixture
def root(tmp_path: Path) -> Path:
    identity(tmp_path / "good" / "1" / "model.onnx")
    return tmp_path


def test_one_onnx_file_is_a_model(root: Path) -> None:
    repository = ModelRepository([root])
    assert repository.names() == ("good",)
    model = repository.load("good", "1")
    metadata = model.metadata
    assert (metadata.name, metadata.versions, metadata.max_batch_size) == ("good", ("1",), 32)
    assert [(t.name, t.datatype, t.shape) for t in metadata.inputs] == [("x", "FP32", (-1, 3))]
    assert list(repository.validate()) == []


def test_a_broken_model_does_not_hide_the_others(root: Path) -> None:
    broken = root / "broken"
    broken.mkdir()
    (broken / "model.yaml").write_text("thread: 1\n")
    repository = ModelRepository([root])
    assert repository.names() == ("broken", "good")
    repository.load("good", "1")
    with pytest.raises(ConfigurationError, match=r"broken/model\.yaml:1: thread: "):
        repository.config("broken")
    with pytest.raises(ConfigurationError, match=r"broken/model\.yaml:1: thread: "):
        repository.load("broken", "1")


def test_a_broken_version_does_not_hide_the_others(root: Path) -> None:
    (root / "good" / "2").mkdir()
    repository = ModelRepository([root])
    repository.load("good", "1")
    with pytest.raises(ConfigurationError, match=r"versions\.2: there is no file"):
        repository.load("good", "2")


@pytest.mark.parametrize("name", ["absent", "../good", "good/", "", ".", "good\x00"])
def test_only_names_that_were_found_are_models(root: Path, name: str) -> None:
    (root / "inner").mkdir()
    identity(root / "inner" / "m" / "1" / "model.onnx")
    with pytest.raises(ModelNotFound):
        ModelRepository([root / "inner"]).load(name, "1")


@pytest.mark.parametrize("version", ["2", "01", "../1", ""])
def test_only_versions_that_were_found_are_versions(root: Path, version: str) -> None:
    with pytest.raises(ModelNotFound, match="it has: 1"):
        ModelRepository([root]).load("good", version)


def test_validation_tells_everything_without_loading(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    identity(elsewhere / "1" / "model.onnx")
    (root / "linked").symlink_to(elsewhere)
    identity(root / "bad name" / "1" / "model.onnx")
    identity(root / "empty" / "model.onnx")
    (root / ".hidden").mkdir()
    (root / "wrong").mkdir()
    (root / "wrong" / "model.yaml").write_text(
        "runtime: magic\nversions:\n  1: a.onnx\nlabels:\n  y: names.txt\n"
    )
    (root / "garbage" / "1").mkdir(parents=True)
    (root / "garbage" / "1" / "model.onnx").write_bytes(b"no model at all")
    problems = [str(error).removeprefix(str(root)) for error in ModelRepository([root]).validate()]
    expected = [
        "/bad name: a model's name is up to 128",
        "/empty: the model has no version",
        "/linked: leads out of the repository",
        "/wrong/model.yaml:3: versions.1: there is no file",
        "/wrong/model.yaml:1: runtime: unknown runtime 'magic'; known are: onnx",
        "/wrong/model.yaml:5: labels.y: cannot read labels",
    ]
    assert len(problems) == len(expected)
    assert all(p.startswith(e) for p, e in zip(problems, expected, strict=True)), problems


def test_a_name_that_stands_in_two_repositories_is_refused(root: Path) -> None:
    identity(root / "second" / "good" / "1" / "model.onnx")
    repository = ModelRepository([root, root / "second"])
    with pytest.raises(ConfigurationError, match="'good' stands in more than one repository"):
        repository.config("good")


def test_a_repository_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the model repository is no directory"):
        ModelRepository([tmp_path / "absent"])


def test_scanning_again_finds_what_was_added(root: Path) -> None:
    repository = ModelRepository([root])
    identity(root / "new" / "1" / "model.onnx")
    assert repository.names() == ("good",)
    repository.scan()
    assert repository.names() == ("good", "new")


def test_the_bundled_models_are_in_order() -> None:
    repository = ModelRepository([ZOO])
    assert repository.names() == ("air-quality", "digits", "text-detect", "text-recognise")
    assert list(repository.validate()) == []


def test_fault_155_strays_are_ignored_with_one_line(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name in ("lost+found", ".ipynb_checkpoints", "__pycache__", "empty", "notes"):
        (root / name).mkdir()
    (root / "notes" / "README.md").write_text("no model")
    (root / "README.md").write_text("models of this site")
    repository = ModelRepository([root])
    assert repository.names() == ("good",)
    assert list(repository.validate()) == []
    repository.scan()
    [record] = caplog.records
    strays = ".ipynb_checkpoints, README.md, __pycache__, empty, lost+found, notes"
    assert record.getMessage() == f"{root}: ignored, being no models: {strays}"


def test_fault_155_a_broken_model_is_no_stray(root: Path) -> None:
    for name in ("model.yaml", "config.pbtxt"):
        (root / name.partition(".")[2]).mkdir()
        (root / name.partition(".")[2] / name).write_text("")
    repository = ModelRepository([root])
    assert repository.names() == ("good", "pbtxt", "yaml")
    assert [str(e).partition(": ")[2][:24] for e in repository.validate()] == [
        "the model has no version"
    ] * 2
