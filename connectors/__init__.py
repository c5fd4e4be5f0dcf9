"""The catalogue: every connector and action type that exists is imported here."""

from connectors import camera, log, mqtt, replay, webhook

__all__ = ["camera", "log", "mqtt", "replay", "webhook"]
