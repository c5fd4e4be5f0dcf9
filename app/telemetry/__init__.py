"""Metrics, logs and traces, made from what the processes tell; observes nothing on the hot path."""
