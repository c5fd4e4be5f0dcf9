"""Every error has a status at both doors, and survives the way between processes."""

import pickle
from collections.abc import Iterator

import pytest

from app import errors
from app.api.status import INTERNAL, MAX_TEXT, STATUS, retry_headers, status_of, text_of
from app.errors import ConfigurationError, MantaError, NotConnected

GRPC_OF_HTTP = {
    400: {"INVALID_ARGUMENT"},
    403: {"PERMISSION_DENIED"},
    404: {"NOT_FOUND"},
    408: {"DEADLINE_EXCEEDED"},
    413: {"RESOURCE_EXHAUSTED"},
    415: {"INVALID_ARGUMENT"},
    431: {"RESOURCE_EXHAUSTED"},
    500: {"INTERNAL"},
    501: {"UNIMPLEMENTED"},
    503: {"UNAVAILABLE"},
    504: {"DEADLINE_EXCEEDED"},
}


def tree(root: type[MantaError]) -> Iterator[type[MantaError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


ALL = [error for error in tree(MantaError) if error.__module__ == errors.__name__]
LEAVES = [error for error in ALL if not error.__subclasses__()]


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_is_in_the_table(leaf: type[MantaError]) -> None:
    assert leaf in STATUS
    assert status_of(leaf("why")) == STATUS[leaf]


def test_the_table_has_leaves_only() -> None:
    assert set(STATUS) == set(LEAVES)


@pytest.mark.parametrize("leaf", LEAVES)
def test_both_doors_say_the_same(leaf: type[MantaError]) -> None:
    http, grpc = STATUS[leaf]
    assert grpc in GRPC_OF_HTTP[http]
    assert (400 <= http < 500) == issubclass(leaf, errors.RequestError)


def test_every_error_is_drawn_in_the_docstring() -> None:
    assert errors.__doc__ is not None
    for error in ALL:
        assert f" {error.__name__} " in f" {errors.__doc__} ".replace("\n", " ")


@pytest.mark.parametrize("error_class", ALL)
def test_every_error_survives_pickling(error_class: type[MantaError]) -> None:
    again = pickle.loads(pickle.dumps(error_class("why")))
    assert type(again) is error_class
    assert str(again) == "why"


def test_what_an_error_carries_survives_pickling() -> None:
    lost = pickle.loads(pickle.dumps(NotConnected("lost", retry_after=2.5)))
    assert (str(lost), lost.retry_after) == ("lost", 2.5)
    wrong = ConfigurationError("is required", "a.yaml", 3, "pipelines[0].id")
    again = pickle.loads(pickle.dumps(wrong))
    assert (again.reason, again.file, again.line, again.field) == (
        "is required",
        "a.yaml",
        3,
        "pipelines[0].id",
    )
    assert str(again) == "a.yaml:3: pipelines[0].id: is required"


@pytest.mark.parametrize(
    "error", [ValueError("inside"), ConfigurationError("inside", "/etc/inside.yaml", 3)]
)
def test_callers_read_nothing_of_the_inside(error: Exception) -> None:
    assert status_of(error) == INTERNAL
    assert text_of(error) == "internal error"


def test_an_error_does_not_repeat_all_of_a_large_body() -> None:
    assert text_of(errors.InvalidInput("x" * MAX_TEXT)) == "x" * MAX_TEXT
    assert text_of(errors.InvalidInput("x" * 10**6)) == "x" * MAX_TEXT + "..."


def test_callers_are_told_to_come_back_where_that_can_help() -> None:
    assert retry_headers(503) == {"retry-after": "1"}
    assert retry_headers(500) == retry_headers(404) == {}
