"""The catalogue of nodes: importing it fills `app.registry.NODES`."""

from app.nodes import (
    agents,
    detection,
    draw,
    emit,
    image,
    infer,
    signal,
    snapshot,
    text_detection,
    text_recognition,
    tracking,
)

__all__ = [
    "agents",
    "detection",
    "draw",
    "emit",
    "image",
    "infer",
    "signal",
    "snapshot",
    "text_detection",
    "text_recognition",
    "tracking",
]
