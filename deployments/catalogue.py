"""Importing this fills every registry: all component types that may stand in a configuration."""

import app.nodes
import connectors
import models.runtimes

__all__ = ["app", "connectors", "models"]
