"""Pydantic's errors in words for whoever wrote the file: what is wrong and what is allowed."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails


def reason_of(detail: ErrorDetails, model_class: type[BaseModel]) -> str:
    """One line for one of the errors that validating a `model_class` gave.

    The rejected value is left out: it may be a secret.
    """
    if detail["type"] == "missing":
        return "is required"
    if detail["type"] == "extra_forbidden":
        allowed = sorted(_fields(model_class, detail["loc"][:-1]))
        close = get_close_matches(str(detail["loc"][-1]), allowed, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        return f"is not a known field; known here are: {', '.join(allowed)}{meant}"
    return detail["msg"].removeprefix("Value error, ")


def _fields(model_class: type[BaseModel], location: Sequence[str | int]) -> set[str]:
    """The names of the fields that a mapping at `location` may have."""
    models = [model_class]
    for part in location:
        entered = [
            inner
            for model in models
            for name, annotation in _annotations(model)
            if name == part
            for inner in _models(annotation)
        ]
        chosen = [model for model in models if _is_tagged(model, part)]
        models = entered or chosen or models
    return {name for model in models for name, _ in _annotations(model)}


def _annotations(model: type[BaseModel]) -> Iterator[tuple[str, object]]:
    """The fields by the name they have in a file, with their types."""
    for name, info in model.model_fields.items():
        yield info.alias or name, info.annotation


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Every model class named in a type such as `dict[str, A | B]`."""
    if get_origin(annotation) is Annotated:
        yield from _models(get_args(annotation)[0])
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from _models(argument)


def _is_tagged(model: type[BaseModel], tag: str | int) -> bool:
    """Whether a discriminated union knows this model by `tag`."""
    return any(
        get_origin(annotation) is Literal and tag in get_args(annotation)
        for _, annotation in _annotations(model)
    )
