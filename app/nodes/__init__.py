"""The catalogue of nodes: importing it fills `app.registry.NODES`."""

from app.nodes import detection, image, infer, text_detection, text_recognition

__all__ = ["detection", "image", "infer", "text_detection", "text_recognition"]
