"""Runtimes, repository and serving of models; no Ray, no streams."""
