from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr, field_validator

from app.config.yaml_file import MAX_BYTES, line_of, load_yaml, parse_yaml
from app.errors import ConfigurationError
from app.registry import ComponentConfig


class Camera(ComponentConfig):
    type: Literal["camera"]
    device: int
    camera: "Crop | None" = None


class Crop(ComponentConfig):
    width: int = 1


class Broker(ComponentConfig):
    type: Literal["broker", "mqtt"]
    topic: str
    password: SecretStr = SecretStr("")
    qos: int = 0

    @field_validator("qos")
    @classmethod
    def _known(cls, qos: int) -> int:
        if qos > 2:
            raise ValueError("must be 0, 1 or 2")
        return qos


class Root(ComponentConfig):
    name: str = "unnamed"
    connectors: tuple[Annotated[Camera | Broker, Field(discriminator="type")], ...] = ()
    limits: dict[str, Crop] = Field(default_factory=dict)


def errors_of(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_yaml(text, Root, "f.yaml", environ)
    lines = str(caught.value).splitlines()
    return lines if len(lines) == 1 else lines[1:]


def test_a_file_becomes_the_model(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("name: a\nconnectors:\n  - {type: mqtt, topic: t, qos: 1}\n", encoding="utf-8")
    assert load_yaml(path, Root) == Root(
        name="a", connectors=(Broker(type="mqtt", topic="t", qos=1),)
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert parse_yaml(text, Root) == Root()


def test_json_is_read_as_well() -> None:
    assert parse_yaml('{"name": "a", "limits": {"x": {"width": 3}}}', Root).limits["x"].width == 3


def test_every_error_is_reported_with_its_line_and_field() -> None:
    text = "name: [1]\nconnectors:\n  - type: mqtt\n    qos: 3\n  - type: camera\n    device: x\n"
    assert errors_of(text) == [
        "f.yaml:1: name: Input should be a valid string",
        "f.yaml:3: connectors[0].topic: is required",
        "f.yaml:4: connectors[0].qos: must be 0, 1 or 2",
        "f.yaml:6: connectors[1].device: Input should be a valid integer, "
        "unable to parse string as an integer",
    ]


def test_an_unknown_field_names_those_of_its_union_member() -> None:
    assert errors_of("connectors:\n- type: broker\n  topic: t\n  topik: t\n") == [
        "f.yaml:4: connectors[0].topik: is not a known field; "
        "known here are: password, qos, topic, type (did you mean topic?)"
    ]
    assert errors_of("limits:\n  a:\n    height: 2\n") == [
        "f.yaml:3: limits.a.height: is not a known field; known here are: width"
    ]


def test_an_unknown_type_names_the_known_ones() -> None:
    [error] = errors_of("connectors:\n- type: telepathy\n")
    assert error.startswith("f.yaml:2: connectors[0]: ")
    assert "'camera', 'broker', 'mqtt'" in error


def test_a_union_member_spelled_like_a_key_does_not_mislead() -> None:
    text = "connectors:\n- type: camera\n  camera:\n    width: 1\n  devise: 0\n"
    assert errors_of(text) == [
        "f.yaml:2: connectors[0].device: is required",
        "f.yaml:5: connectors[0].devise: is not a known field; known here are: "
        "camera, device, type (did you mean device?)",
    ]
    text = "connectors:\n- type: camera\n  device: 0\n  camera:\n    width: wide\n"
    [error] = errors_of(text)
    assert error.startswith("f.yaml:5: connectors[0].camera.width: ")


def test_a_root_that_is_no_mapping_is_refused() -> None:
    [error] = errors_of("- 1\n")
    assert error.startswith("f.yaml:1: Input should be a valid dictionary")


def test_variables_come_from_the_environment() -> None:
    text = 'name: "${A}/x-$${A}"\nconnectors: [{type: mqtt, topic: t, qos: "${Q}"}]\n'
    root = parse_yaml(text, Root, environ={"A": "1: [", "Q": "2"})
    assert root.name == "1: [/x-${A}"
    assert root.connectors == (Broker(type="mqtt", topic="t", qos=2),)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("${LOST}", "the environment variable LOST is not set"),
        ("${a b}", "write ${NAME} for an environment variable, $${ for a plain ${"),
        ("${A", "write ${NAME} for an environment variable, $${ for a plain ${"),
    ],
)
def test_a_wrong_variable_is_named(value: str, reason: str) -> None:
    assert errors_of(f"limits: {{}}\nname: '{value}'\n", A="1") == [f"f.yaml:2: {reason}"]


def test_a_secret_is_not_printed() -> None:
    text = "connectors: [{type: mqtt, topic: t, password: [hunter2]}]"
    [error] = errors_of(text)
    assert "hunter2" not in error


def test_a_repeated_key_is_refused() -> None:
    assert errors_of("name: a\nlimits: {}\nname: b\n") == [
        "f.yaml:3: the key 'name' stands on line 1 already"
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: a\nlimits:\n\tx: 1\n", "f.yaml:3: a tab stands where YAML wants spaces"),
        ("name: !!python/name:os.system\n", "f.yaml:1: could not determine a constructor"),
        ("limits: !!python/object/new:dict {}\n", "f.yaml:1: the tag tag:yaml.org"),
        ("name: a\nname b\n", "f.yaml:3: while scanning a simple key"),
        ("{[1]: 2}\n", "f.yaml:1: a key must be a plain value"),
        ("name: 2020-99-01\n", "f.yaml:1: '2020-99-01' is not a valid value"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: expected a single document"),
        ("name: " + "[" * 5000, "f.yaml: is nested too deeply"),
        ("limits: &a [*a]\n", "f.yaml:1: is nested too deeply"),
        ("name: \x07\n", "f.yaml:1: the character '\\x07' is not allowed"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str, reason: str) -> None:
    [error] = errors_of(text)
    assert error.startswith(reason)


def test_aliases_may_not_multiply_without_bound() -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    [error] = errors_of("\n".join(rows))
    assert "holds more than 200000 values" in error


def test_merge_keys_give_way_to_own_keys() -> None:
    text = "limits:\n  a: &a {width: 2}\n  b: {<<: *a}\n  c: {<<: [*a], width: 3}\n"
    assert [crop.width for crop in parse_yaml(text, Root).limits.values()] == [2, 2, 3]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    with pytest.raises(ConfigurationError, match=r"f\.yaml: cannot be read: No such file"):
        load_yaml(path, Root)
    path.write_bytes(b"name: a\nlimits: \xff\n")
    with pytest.raises(ConfigurationError, match=r"f\.yaml:2: is not UTF-8 text"):
        load_yaml(path, Root)
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(ConfigurationError, match=r"is larger than 10000000 bytes"):
        load_yaml(path, Root)


def test_a_validators_own_configuration_error_gets_the_file() -> None:
    class Picky(ComponentConfig):
        type: str

        @field_validator("type")
        @classmethod
        def _known(cls, name: str) -> str:
            raise ConfigurationError(f"unknown type {name!r}")

    with pytest.raises(ConfigurationError, match=r"^f\.yaml: unknown type 'x'$"):
        parse_yaml("type: x", Picky, "f.yaml")


def test_the_line_of_a_field_can_be_asked_for_later(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("name: ${A}\nlimits:\n  x:\n    width: 1\n  7: {}\n", encoding="utf-8")
    assert line_of(path, ("limits", "x", "width")) == 4
    assert line_of(path, ("limits", "7")) == 5
    assert line_of(path, ("name",)) == 1
    assert line_of(path, ("limits", "y")) is None
    assert line_of(tmp_path / "absent.yaml", ("name",)) is None
