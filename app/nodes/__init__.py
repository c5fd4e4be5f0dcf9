"""What a pipeline is made of, a room for each kind of work; no sources, sinks or models.

Importing it fills `app.registry.NODES`.
"""

from app.nodes.agents import person_in_zone, snapshot, threshold
from app.nodes.flow import emit, infer
from app.nodes.signal import vectors
from app.nodes.vision import (
    detection,
    draw,
    image,
    text_detection,
    text_recognition,
    tracking,
)

__all__ = [
    "detection",
    "draw",
    "emit",
    "image",
    "infer",
    "person_in_zone",
    "snapshot",
    "text_detection",
    "text_recognition",
    "threshold",
    "tracking",
    "vectors",
]
