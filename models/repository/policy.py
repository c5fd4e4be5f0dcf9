"""Which of a model's versions are served at once."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from app.registry import ComponentConfig

Versions = tuple[Annotated[int, Field(ge=1)], ...]


class Latest(ComponentConfig):
    """The newest `latest` versions."""

    latest: Annotated[int, Field(ge=1)] = 1

    def choose(self, known: Iterable[str]) -> tuple[str, ...]:
        return tuple(known)[-self.latest :]


class Specific(ComponentConfig):
    """The versions that are named, which must all be there."""

    specific: Annotated[Versions, Field(min_length=1)]

    def choose(self, known: Iterable[str]) -> tuple[str, ...]:
        """Raises ValueError naming the first version that is not there."""
        there = tuple(known)
        for version in self.specific:
            if str(version) not in there:
                raise ValueError(f"there is no version {version}; there are: {', '.join(there)}")
        return tuple(version for version in there if int(version) in self.specific)


class All(ComponentConfig):
    """Every version."""

    all: Literal[True] = True

    def choose(self, known: Iterable[str]) -> tuple[str, ...]:
        return tuple(known)


def _short_forms(policy: object) -> object:
    """`all`, `latest`, and the forms that the protocol's model configuration writes.

    Source of the latter: `ModelVersionPolicy` of the `model_config.proto` of KServe clients:
    `{"latest": {"num_versions": 2}}`, `{"all": {}}`, `{"specific": {"versions": [1]}}`.
    """
    if policy in ("all", "latest"):
        return {"all": True} if policy == "all" else {"latest": 1}
    if not isinstance(policy, Mapping) or len(policy) != 1:
        return policy
    [(kind, value)] = policy.items()
    if isinstance(value, Mapping):
        inner = {"latest": value.get("num_versions", 1), "specific": value.get("versions", ())}
        return {kind: inner.get(kind, True)}
    return policy


def _kind(policy: object) -> str | None:
    for kind in ("latest", "specific", "all"):
        if hasattr(policy, kind) or (isinstance(policy, Mapping) and kind in policy):
            return kind
    return None


VersionPolicy = Annotated[
    Annotated[Latest, Tag("latest")]
    | Annotated[Specific, Tag("specific")]
    | Annotated[All, Tag("all")],
    Discriminator(
        _kind,
        custom_error_type="version_policy",
        custom_error_message="must be {latest: N}, all or {specific: [N, ...]}",
    ),
    BeforeValidator(_short_forms),
]
