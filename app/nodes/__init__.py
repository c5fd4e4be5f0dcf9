"""The catalogue of nodes: importing it fills `app.registry.NODES`."""

from app.nodes import (
    detection,
    draw,
    image,
    infer,
    text_detection,
    text_recognition,
    tracking,
)

__all__ = [
    "detection",
    "draw",
    "image",
    "infer",
    "text_detection",
    "text_recognition",
    "tracking",
]
