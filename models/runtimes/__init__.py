"""The catalogue of runtimes: importing it registers them in `app.registry.RUNTIMES`."""

from models.runtimes import onnx

__all__ = ["onnx"]
