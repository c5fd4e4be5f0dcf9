"""Reading the fields of a JSON document. Every error names the field."""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeGuard

import orjson

from app.errors import InvalidInput
from app.types import JsonValue

Fields = Mapping[str, JsonValue]

_CONTAINERS = frozenset((list, dict))


def decode_json(body: bytes | memoryview, depth: int | None = None) -> object:
    """Raises InvalidInput for what is not JSON or nested deeper than `depth`.

    NaN and Infinity literals are not JSON.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from error
    if depth is not None and may_be_deeper(body, depth):
        check_depth(value, depth)
    return value


def may_be_deeper(body: bytes | memoryview, depth: int) -> bool:
    """Whether JSON has so many brackets that it is worth looking how deep it is nested."""
    text = bytes(body)
    return text.count(b"[") + text.count(b"{") > depth


def check_depth(value: object, depth: int) -> None:
    """Raises InvalidInput. Level by level, so that no nesting can exhaust the stack."""
    level: list[object] = [value]
    for _ in range(depth):
        level = [child for parent in level for child in _containers(parent)]
        if not level:
            return
    raise InvalidInput(f"the body is nested more than {depth} deep")


def mapping(value: object, where: str) -> Fields:
    if not is_object(value):
        raise InvalidInput(f"{where}: must be a JSON object")
    return value


def is_object(value: object) -> TypeGuard[Fields]:
    """Keys of a parsed JSON object are always strings."""
    return isinstance(value, dict)


def items(data: Fields, field: str, most: int) -> list[JsonValue]:
    """The elements of an array that may be missing, at most `most`."""
    value = data.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput(f"{field}: must be an array")
    if len(value) > most:
        raise InvalidInput(f"{field}: more than {most} tensors")
    return value


def text(data: Fields, field: str, where: str) -> str:
    value = data.get(field)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{where}.{field}: must be a string")
    return value


def parameters(data: Fields, where: str) -> Fields:
    value = data.get("parameters")
    return {} if value is None else mapping(value, f"{where}parameters")


def flag(data: Fields, field: str, where: str, default: bool) -> bool:
    value = data.get(field, default)
    if not isinstance(value, bool):
        raise InvalidInput(f"{where}{field}: must be true or false")
    return value


def whole(data: Fields, field: str, where: str) -> int | None:
    """A whole number from 0; None where the field is missing."""
    value = data.get(field)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise InvalidInput(f"{where}{field}: {value!r} is not a whole number from 0")
    return value


def _containers(parent: object) -> Iterable[object]:
    """The arrays and objects in one; a row of numbers costs no loop of ours."""
    children: Collection[object] = ()
    if isinstance(parent, list):
        children = parent
    elif isinstance(parent, dict):
        children = parent.values()
    if _CONTAINERS.isdisjoint(map(type, children)):
        return ()
    return [child for child in children if type(child) in _CONTAINERS]
