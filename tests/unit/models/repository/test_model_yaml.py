from pathlib import Path

import pytest

from app.errors import ConfigurationError
from models.repository.labels import labels_of
from models.repository.located import locate, runtime_of
from models.repository.model_yaml import MetadataLabels, load_model_config


def write(directory: Path, text: str) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "model.yaml").write_text(text, encoding="utf-8")
    return directory


def artefact(directory: Path, name: str = "1/model.onnx") -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_numbered_directories_are_the_versions(tmp_path: Path) -> None:
    model = tmp_path / "m"
    for version in ("1", "2", "10", "007", "latest"):
        artefact(model, f"{version}/model.onnx")
    config = load_model_config(model)
    assert config.name == "m"
    assert list(config.versions) == ["1", "2", "10"]
    assert locate(config, "10").path == model / "10" / "model.onnx"
    assert runtime_of(config, "10") == "onnx"
    assert (config.max_batch_size, config.queue_size, config.threads) == (None, 512, None)


def test_everything_can_be_said(tmp_path: Path) -> None:
    text = """
runtime: onnx
versions: {3: weights/net.onnx, "20": weights/net.onnx}
max_batch_size: 8
queue_size: 16
threads: 2
labels:
  a: [x, z]
  b: names.txt
  c: {metadata: character}
warm_up: {x: [1, 3, 8, 8]}
description: d
"""
    config = load_model_config(write(tmp_path / "m", text))
    assert list(config.versions) == ["3", "20"]
    assert config.labels == {
        "a": ("x", "z"),
        "b": "names.txt",
        "c": MetadataLabels(metadata="character"),
    }
    assert config.warm_up == {"x": (1, 3, 8, 8)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nmax_batch: 3\n", r"m/model\.yaml:2: max_batch: is not a known field; known here are: "),
        ("max_batch_size: -1", r":1: max_batch_size: .*greater than or equal to 0"),
        ("threads: 0", r":1: threads: .*greater than or equal to 1"),
        ("queue_size: many", r":1: queue_size: .*valid integer"),
        ("versions:\n  '01': a.onnx", r":1: versions: '01' is not a version: a whole number"),
        ("labels:\n  y: 3\n", r":2: labels\.y: must be a list, the name of a file or \{metadata:"),
        ("labels:\n  y: [yes]\n", r":2: labels\.y\[0\]: .*valid string"),
        ("labels:\n  y: {key: k}\n", r":2: labels\.y\.(metadata|key): is "),
        ("sha256:\n  1: abc\n", r":2: sha256\.1: .*match pattern"),
        (f"sha256:\n  1: {'1' * 64}\n", r":2: sha256\.1: must be a SHA-256 in hexadecimal, or"),
        ("sha256:\n  1:\n    w.bin: abc\n", r":3: sha256\.1\.w\.bin: .*match pattern"),
        ("sha256:\n  a: abc\n", r":2: sha256\.a: .*match pattern"),
        ("warm_up:\n  x: [1, 0]\n", r":2: warm_up\.x\[1\]: .*greater than or equal to 1"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_model_config(write(tmp_path / "m", text))


def test_a_model_without_versions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="neither `versions` nor a numbered directory"):
        load_model_config(write(tmp_path / "m", "description: nothing here"))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("2/model.onnx", "there is no file"),
        ("../other.onnx", "leads out of"),
        ("/etc/hostname", "leads out of"),
        ("link.onnx", "leads out of"),
        ("ftp://host/model.onnx", "is no address of an artefact"),
        ("file://host/model.onnx", "is not a local file"),
        ("package://rapidocr", "write package://PACKAGE/PATH"),
        ("package://no_such_package/x.onnx", "'no_such_package' is not installed"),
        ("package://numpy/../pip/__init__.py", "leads out of"),
        ("package://os.path/x.onnx", "write package://PACKAGE/PATH"),
        ("package://sys/x.onnx", "is not installed"),
    ],
)
def test_a_bad_address_is_named_with_its_line(tmp_path: Path, address: str, reason: str) -> None:
    artefact(tmp_path, "other.onnx")
    model = write(tmp_path / "m", f"versions:\n  1: {address}\n")
    (model / "link.onnx").symlink_to(tmp_path / "other.onnx")
    config = load_model_config(model)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        locate(config, "1")
    assert (caught.value.line, caught.value.field) == (2, "versions.1")
    assert caught.value.file == str(model / "model.yaml")


def test_a_file_anywhere_can_be_named_in_full(tmp_path: Path) -> None:
    artefact(tmp_path, "a b.onnx")
    address = (tmp_path / "a b.onnx").as_uri()
    config = load_model_config(write(tmp_path / "m", f"versions: {{1: '{address}'}}"))
    assert locate(config, "1").path == tmp_path / "a b.onnx"


def test_a_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefact(tmp_path, "heavy_package/models/net.onnx")
    (tmp_path / "heavy_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "versions: {1: 'package://heavy_package/models/net.onnx'}"
    config = load_model_config(write(tmp_path / "m", text))
    assert locate(config, "1").path == tmp_path / "heavy_package" / "models" / "net.onnx"


def test_the_runtime_must_be_named_for_an_unknown_suffix(tmp_path: Path) -> None:
    config = load_model_config(write(tmp_path / "m", "versions: {1: net.xyz}"))
    with pytest.raises(ConfigurationError, match=r"no runtime is known for '\.xyz' files \(\.onnx"):
        runtime_of(config, "1")
    config = load_model_config(write(tmp_path / "n", "runtime: onnx\nversions: {1: net.xyz}"))
    assert runtime_of(config, "1") == "onnx"


@pytest.mark.parametrize(
    "address",
    [
        "https://host/net.onnx?X-Amz-Signature=a.b/c",
        "https://host/net.onnx#part",
        "a?b#c.onnx",
        "package://rapidocr/models/net.onnx",
    ],
)
def test_the_suffix_is_that_of_the_path(tmp_path: Path, address: str) -> None:
    config = load_model_config(write(tmp_path / "m", f"versions: {{1: '{address}'}}"))
    assert runtime_of(config, "1") == "onnx"


def test_what_is_downloaded_has_one_sum(tmp_path: Path) -> None:
    text = f"versions: {{1: 'https://host/a.onnx'}}\nsha256:\n  1: {{a.onnx: {'a' * 64}}}\n"
    config = load_model_config(write(tmp_path / "m", text))
    with pytest.raises(ConfigurationError, match=r":3: sha256\.1: must be one sum: one file is "):
        locate(config, "1")


def test_labels_come_from_a_list_a_file_or_the_artefact(tmp_path: Path) -> None:
    text = "versions: {1: a.onnx}\nlabels: {a: [x], b: names.txt, c: {metadata: character}}"
    model = write(tmp_path / "m", text)
    (model / "names.txt").write_bytes(b"person\r\n\r\nbicycle\r\n")
    config = load_model_config(model)
    assert labels_of(config, "a", {}) == ("x",)
    assert labels_of(config, "b", {}) == ("person", "", "bicycle")
    assert labels_of(config, "c", {"character": "!\n\u2028\n\u3000"}) == ("!", "\u2028", "\u3000")


def test_labels_that_are_not_there_are_named(tmp_path: Path) -> None:
    text = "versions: {1: a.onnx}\nlabels:\n  b: ../names.txt\n  c: {metadata: character}"
    config = load_model_config(write(tmp_path / "m", text))
    with pytest.raises(ConfigurationError, match=r":3: labels\.b: cannot read labels: .*leads out"):
        labels_of(config, "b", {})
    with pytest.raises(ConfigurationError, match=r":4: labels\.c: .*'character'; it has: author"):
        labels_of(config, "c", {"author": "me"})
