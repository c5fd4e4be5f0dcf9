"""What a caller may change of a model's `model.yaml` while it is loaded.

Fields are called as in `model.yaml` or as in Triton's ModelConfig: see
`models.repository.triton_config`.
"""

from collections.abc import Mapping

from pydantic import ValidationError

from app.config.validation import reason_of
from app.errors import InvalidInput
from app.types import JsonValue
from models.repository.model_yaml import ModelConfig, ModelFile
from models.repository.triton_config import translate

FIXED = frozenset({"runtime", "versions", "sha256", "on_demand", "optimized_graph_cache"})
"""Where a model comes from is for whoever writes the repository to say, not for its callers."""


def with_override(config: ModelConfig, override: Mapping[str, JsonValue]) -> ModelConfig:
    """`config` with these fields of `model.yaml` instead. Raises InvalidInput naming the field."""
    asked = translate(override, config.name)
    for name in asked.fields:
        if name in FIXED:
            raise InvalidInput(f"config.{name}: cannot be changed by a request")
    try:
        file = ModelFile.model_validate(dict(asked.fields))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        first, *others = (str(part) for part in detail["loc"])
        place = ".".join(["config", asked.places.get(first, first), *others])
        raise InvalidInput(f"{place}: {reason_of(detail, ModelFile)}") from error
    changed = {name: getattr(file, name) for name in file.model_fields_set}
    _refuse_files(file)
    return config.model_copy(update=changed)


def _refuse_files(file: ModelFile) -> None:
    for output, labels in file.labels.items():
        if isinstance(labels, str):
            raise InvalidInput(f"config.labels.{output}: must be a list or {{metadata: KEY}}")
