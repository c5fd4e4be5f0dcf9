"""One engine a folder or file, each a Model; no repository and no serving.

Importing it registers them in `app.registry.RUNTIMES`.
"""

from models.runtimes.onnx.runtime import OnnxModel

__all__ = ["OnnxModel"]
