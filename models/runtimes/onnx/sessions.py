"""Opening ONNX Runtime sessions, with rewritten graphs from the cache where there is one."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import ConfigurationError
from models.repository.checksum import sha256_of
from models.repository.external_data import external_data
from models.repository.file_lock import alone
from models.repository.runtime_options import RuntimeOptions
from models.runtimes.onnx.options import (
    cached_graph,
    provider_options,
    session_options,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


_NO_LOCALE = re.compile(r"Failed to construct locale with name:([^:\s]*)")
"""As ONNX Runtime's StringNormalizer says it."""


def open_session(path: Path, options: RuntimeOptions, provider: str) -> "InferenceSession":
    """A session on `provider`, with the CPU for what that cannot do.

    Raises ConfigurationError if ONNX Runtime refuses the file or does not get the provider to work.
    """
    directory = options.optimized_graph_cache
    if directory is None or any(external_data(path)):
        return _open(path, options, provider)
    from onnxruntime import __version__ as version  # noqa: PLC0415 - slow to import

    kept = cached_graph(directory, sha256_of(path), version, options.optimization, provider)
    if session := _open_kept(kept, options, provider):
        return session
    partial = kept.with_name(f".{kept.name}.part")
    with alone(kept):
        if session := _open_kept(kept, options, provider):
            return session
        try:
            session = _open(path, options, provider, save_to=partial)
            partial.replace(kept)
        finally:
            partial.unlink(missing_ok=True)
    return session


def _open_kept(kept: Path, options: RuntimeOptions, provider: str) -> "InferenceSession | None":
    """From the cache; what is there but cannot be opened is removed."""
    if not kept.exists():
        return None
    try:
        return _open(kept, options.model_copy(update={"optimization": "disable"}), provider)
    except ConfigurationError:
        kept.unlink(missing_ok=True)
        return None


def _open(
    path: Path, options: RuntimeOptions, provider: str, save_to: Path | None = None
) -> "InferenceSession":
    import onnxruntime as ort  # noqa: PLC0415 - an extra, and slow to import

    chosen = session_options(ort.SessionOptions(), options, ort.GraphOptimizationLevel)
    if save_to is not None:
        chosen.optimized_model_filepath = str(save_to)
    names = list(dict.fromkeys((provider, "CPUExecutionProvider")))
    providers = [(name, provider_options(options, name)) for name in names]
    try:
        session = ort.InferenceSession(str(path), chosen, providers=providers)
    except Exception as error:  # ONNX Runtime's own errors share no other base
        raise ConfigurationError(_refusal(str(error)), str(path)) from error
    if session.get_providers()[0] != provider:
        raise ConfigurationError(f"{provider} does not work on this machine", str(path))
    return session


def _refusal(error: str) -> str:
    missing = _NO_LOCALE.search(error)
    if missing is None:
        return f"ONNX Runtime refuses it: {error}"
    name = missing[1]
    return (
        f"its StringNormalizer needs the locale {name!r}, which this machine does not have: install"
        f" it (Debian: apt-get install locales && localedef -i {name.partition('.')[0]} -f UTF-8"
        f" {name}), or export the model with a `locale` that `locale -a` lists, such as C.UTF-8"
    )
