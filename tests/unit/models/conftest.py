"""Whoever opens a model has imported the runtimes."""

import models.runtimes  # noqa: F401
