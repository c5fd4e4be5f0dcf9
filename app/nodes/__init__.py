"""The catalogue: every node type that exists is imported here."""

from app.nodes import agents, emit, signal, snapshot

__all__ = ["agents", "emit", "signal", "snapshot"]
