"""Small damage to bytes and to JSON documents, decided by a seeded generator alone."""

from collections.abc import Callable
from random import Random
from typing import Any

INTERESTING = (
    *(b"", b"\0", b"\xff", b"\r\n", b"\n", b"\r\n\r\n", b"%00", b"%2e%2e/", b"..", b"//", b'"'),
    *(b"{", b"[", b"}", b"]", b",", b":", b"-1", b"0", b"1e999", b"99999999999999999999", b"null"),
    *(b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"NaN", b"\x80", b"A" * 300),
)

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**31, 2**63, -(2**63), 2**64, 10**30),
    *("", "x", "y", "FP32", "BYTES", "BOOL", "INT64", "FP33", "../x", "\0", "é" * 40, "9" * 40),
    *([], {}, [[]], [{}], {"name": "x"}, [None], [1, [2]], ["a", 1], [0] * 500, {"a": {"b": []}}),
    [[[[[[[[[[1]]]]]]]]]],
)


def damaged(data: bytes, random: Random) -> bytes:
    """`data` after one to four small changes."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        random.choice(_CHANGES)(changed, random)
    return bytes(changed)


def _place(data: bytearray, random: Random) -> int:
    return random.randrange(len(data) + 1)


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _overwrite(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] = random.randrange(256)


def _insert(data: bytearray, random: Random) -> None:
    place = _place(data, random)
    data[place:place] = random.choice(INTERESTING)


def _replace(data: bytearray, random: Random) -> None:
    place = _place(data, random)
    data[place : place + random.randint(1, 8)] = random.choice(INTERESTING)


def _remove(data: bytearray, random: Random) -> None:
    place = _place(data, random)
    del data[place : place + random.randint(1, 64)]


def _repeat(data: bytearray, random: Random) -> None:
    place = _place(data, random)
    piece = data[place : place + random.randint(1, 64)]
    data[place:place] = piece * random.randint(1, 8)


def _truncate(data: bytearray, random: Random) -> None:
    del data[_place(data, random) :]


_CHANGES: tuple[Callable[[bytearray, Random], None], ...] = (
    *(_flip, _overwrite, _insert, _replace, _remove, _repeat),
    _truncate,
)


def changed_document(document: Any, random: Random) -> Any:
    """A JSON document with one to three of its values, names or elements changed."""
    for _ in range(random.randint(1, 3)):
        document = _changed(document, random)
    return document


def _changed(value: Any, random: Random) -> Any:
    """Goes down at random and changes what it stops at."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        name = random.choice(list(value))
        return _changed_object(value, name, random)
    if isinstance(value, list) and value and random.random() < 0.85:
        return _changed_array(value, random.randrange(len(value)), random)
    return random.choice(JUNK)


def _changed_object(value: dict[str, Any], name: str, random: Random) -> Any:
    kind = random.randrange(10)
    rest = {key: item for key, item in value.items() if key != name}
    if kind == 0:
        return rest
    if kind == 1:
        return {**rest, f"{name}_": value[name]}
    if kind == 2:
        return {**value, random.choice(("x", "parameters", "timeout", "id")): random.choice(JUNK)}
    return {**value, name: _changed(value[name], random)}


def _changed_array(value: list[Any], place: int, random: Random) -> Any:
    kind = random.randrange(8)
    if kind == 0:
        return value[:place] + value[place + 1 :]
    if kind == 1:
        return value * random.choice((2, 3, 40))
    if kind == 2:
        return [value]
    return [*value[:place], _changed(value[place], random), *value[place + 1 :]]
