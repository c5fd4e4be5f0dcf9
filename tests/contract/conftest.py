from tests.integration.conftest import mosquitto

__all__ = ["mosquitto"]
