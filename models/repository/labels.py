"""The labels of a model's outputs: from its `model.yaml`, a file beside that, or the artefact."""

from collections.abc import Mapping

from models.repository.artefacts import contained
from models.repository.model_yaml import ModelConfig


def with_labels(config: ModelConfig) -> ModelConfig:
    """`config` with what its label files say in their place, so that nothing is read later on.

    Raises ConfigurationError naming the output whose file cannot be read.
    """
    names = [output for output, labels in config.labels.items() if isinstance(labels, str)]
    if not names:
        return config
    read = {output: read_labels(config, output) for output in names}
    return config.model_copy(update={"labels": {**config.labels, **read}})


def read_labels(config: ModelConfig, output: str) -> tuple[str, ...]:
    """The labels of an output that names a file. Raises ConfigurationError."""
    try:
        text = contained(config.directory, str(config.labels[output])).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise config.error(f"cannot read labels: {error}", "labels", output) from error
    return _lines(text)


def labels_of(config: ModelConfig, output: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The labels of an output, `metadata` being the custom metadata of the artefact.

    Raises ConfigurationError if their file or metadata entry is not there.
    """
    labels = config.labels[output]
    if isinstance(labels, tuple):
        return labels
    if isinstance(labels, str):
        return read_labels(config, output)
    if labels.metadata not in metadata:
        known = ", ".join(sorted(metadata)) or "none at all"
        reason = f"the artefact has no metadata entry {labels.metadata!r}; it has: {known}"
        raise config.error(reason, "labels", output)
    return _lines(metadata[labels.metadata])


def _lines(text: str) -> tuple[str, ...]:
    """Split at newlines alone, since U+2028 and its like are characters of OCR dictionaries."""
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
