"""Traces of single requests: when each part of their way through a model began.

The settings are those of Triton's Trace extension, and the timestamps have its names. A trace is
one line of the log; where lines go is not a caller's to say (CVE-2024-0087).
"""

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from app.errors import InvalidInput
from app.types import InferenceRequest, JsonValue

logger = logging.getLogger(__name__)

TraceSettings = Mapping[str, JsonValue]

DEFAULTS: TraceSettings = {
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_file": "",
    "trace_mode": "triton",
}
_LEAST = {"trace_rate": 1, "trace_count": -1, "log_frequency": 0}
_MOST = 2**31 - 1


def checked_trace_settings(change: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """As they are kept: numbers as texts, None for what is cleared.

    `trace_rate` traces one request of so many, `trace_count` only so many in all (-1: no end);
    `log_frequency` writes so many traces at a time. Raises InvalidInput naming the field.
    """
    return {name: _checked(name, value) for name, value in change.items()}


def applied(settings: TraceSettings, change: TraceSettings) -> dict[str, JsonValue]:
    """`settings` with what `change` sets, and without what it clears."""
    merged = {**settings, **change}
    return {name: value for name, value in merged.items() if value is not None}


def _checked(name: str, value: JsonValue) -> JsonValue:
    if name not in DEFAULTS:
        raise InvalidInput(f"{name}: is not a trace setting")
    if value is None or value == []:
        return None
    if name == "trace_level":
        return _level(value)
    if name == "trace_file":
        if value != "":
            raise InvalidInput("trace_file: traces go to the log, and nowhere that a caller says")
        return None
    if name == "trace_mode":
        if value != "triton":
            raise InvalidInput("trace_mode: must be 'triton'")
        return None
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 11):
        raise InvalidInput(f"{name}: must be a whole number")
    if not _LEAST[name] <= int(text) <= _MOST:
        raise InvalidInput(f"{name}: must be {_LEAST[name]} to {_MOST}")
    return str(int(text))


def _level(value: JsonValue) -> list[JsonValue]:
    levels: list[JsonValue] = [*value] if isinstance(value, list) else [value]
    if "TENSORS" in levels:
        raise InvalidInput("trace_level: TENSORS cannot be had: the log is no place for tensors")
    if levels not in (["OFF"], ["TIMESTAMPS"]):
        raise InvalidInput('trace_level: must be ["OFF"] or ["TIMESTAMPS"]')
    return levels


@dataclass(slots=True)
class Trace:
    """One request on its way. `marks` are in nanoseconds of a clock that only goes forward."""

    number: int
    version: str
    request_id: str | None
    now: Callable[[], int]
    marks: list[tuple[str, int]] = field(default_factory=list)

    def mark(self, name: str) -> None:
        self.marks.append((name, self.now()))


class Tracer:
    """Decides which requests of one model are traced, and writes their traces.

    The model's own settings go before those of the whole server. While `on` is false nothing is
    to be asked of it.
    """

    def __init__(
        self,
        model: str,
        write: Callable[[str], None] = logger.info,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.on = False
        self._model = model
        self._write = write
        self._now = now
        self._own: TraceSettings = {}
        self._for_all: TraceSettings = {}
        self._ids = itertools.count(1)
        self._ended: list[str] = []
        self._restart()

    def settings(self) -> dict[str, JsonValue]:
        """What is in force; `trace_count` is how many traces are still to come."""
        settings = {**DEFAULTS, **self._for_all, **self._own}
        return settings | {"trace_count": str(self._left)}

    def change(self, own: TraceSettings, for_all: TraceSettings | None = None) -> None:
        """Both are checked already; `for_all` replaces the settings of the whole server."""
        self._own = applied(self._own, own)
        if for_all is not None:
            self._for_all = for_all
        if own or for_all is not None:
            self._restart()

    def begin(self, request: InferenceRequest, version: str) -> Trace | None:
        """The trace of this request, if it is to have one."""
        self._seen += 1
        if self._seen % self._rate:
            return None
        if self._left > 0:
            self._left -= 1
            self.on = self._left != 0
        trace = Trace(next(self._ids), version, request.id, self._now)
        trace.mark("REQUEST_START")
        return trace

    def end(self, trace: Trace, *, succeeded: bool) -> None:
        trace.mark("REQUEST_END")
        line = orjson.dumps(
            {
                "id": trace.number,
                "model_name": self._model,
                "model_version": trace.version,
                "request_id": trace.request_id or "",
                "succeeded": succeeded,
                "timestamps": [{"name": name, "ns": ns} for name, ns in trace.marks],
            }
        )
        self._ended.append(line.decode())
        if len(self._ended) >= self._at_a_time or not self.on:
            self._flush()

    def _restart(self) -> None:
        self._flush()
        settings = {**DEFAULTS, **self._for_all, **self._own}
        self._seen = 0
        self._rate = int(str(settings["trace_rate"]))
        self._left = int(str(settings["trace_count"]))
        self._at_a_time = int(str(settings["log_frequency"]))
        self.on = settings["trace_level"] == ["TIMESTAMPS"] and self._left != 0

    def _flush(self) -> None:
        lines, self._ended = self._ended, []
        for line in lines:
            self._write(f"trace {line}")


def mark_all(traces: Sequence[Trace], name: str) -> None:
    for trace in traces:
        trace.mark(name)
