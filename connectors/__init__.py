"""Sources and sinks, one transport a file; what is done with a message is not their business.

Importing it registers every connector and action type.
"""

from connectors import camera, log, mqtt, replay, webhook

__all__ = ["camera", "log", "mqtt", "replay", "webhook"]
