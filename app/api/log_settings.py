"""Log settings of this process, which take effect at once.

The format: Triton's Logging extension.
"""

import logging

from app.api.codec.fields import Fields
from app.errors import InvalidInput
from app.telemetry.logging import configure_logging
from app.types import JsonValue

_KINDS = {"log_info": logging.INFO, "log_warning": logging.WARNING, "log_error": logging.ERROR}
_FORMATS = ("default", "ISO8601")


class LogSettings:
    """`log_info`, `log_warning` and `log_error` each switch lines of that kind on; with
    `log_verbose_level` above 0 those for debugging are written, too."""

    def __init__(self) -> None:
        self._values: dict[str, JsonValue] = {
            "log_file": "",
            "log_info": True,
            "log_warning": True,
            "log_error": True,
            "log_verbose_level": 0,
            "log_format": "default",
        }

    def answer(self) -> dict[str, JsonValue]:
        return dict(self._values)

    def change(self, settings: Fields) -> None:
        """Raises InvalidInput naming the field; then nothing is changed."""
        for name, value in settings.items():
            _check_log_setting(name, value)
        self._values |= settings
        configure_logging(
            logging.DEBUG if self._values["log_verbose_level"] else logging.INFO,
            off=[level for name, level in _KINDS.items() if not self._values[name]],
            iso8601=self._values["log_format"] == "ISO8601",
        )


def _check_log_setting(name: str, value: JsonValue) -> None:
    if name in _KINDS:
        if not isinstance(value, bool):
            raise InvalidInput(f"{name}: must be true or false")
    elif name == "log_verbose_level":
        if type(value) is not int or value < 0:
            raise InvalidInput(f"{name}: must be a whole number from 0")
    elif name == "log_format":
        if value not in _FORMATS:
            raise InvalidInput(f"{name}: must be one of: {', '.join(_FORMATS)}")
    elif name == "log_file":
        if value != "":
            raise InvalidInput("log_file: where the log goes cannot be set by a caller")
    else:
        raise InvalidInput(f"{name}: is not a log setting")
