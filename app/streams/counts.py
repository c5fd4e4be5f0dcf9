"""How many messages came in, and what became of each.

At every instant, for every source and in total:
captured = processed + downgraded + sum of dropped by reason + in flight.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.pipeline.outcome import OutcomeKind
from app.types import JsonValue

OTHER = "other"


@dataclass(slots=True)
class Tally:
    """The counts of one source, or of all of them. `in_flight` is counted, not computed."""

    captured: int = 0
    processed: int = 0
    downgraded: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0

    def snapshot(self) -> Mapping[str, JsonValue]:
        return {
            "captured": self.captured,
            "processed": self.processed,
            "downgraded": self.downgraded,
            "dropped": dict(self.dropped),
            "in_flight": self.in_flight,
        }


class StreamCounts:
    """Counts by source.

    Topics and device names come from outside, so only the first `max_sources` of them get counts
    of their own; the rest share the key "other". Likewise for reasons beyond `max_reasons`.
    """

    def __init__(self, max_sources: int = 256, max_reasons: int = 32) -> None:
        self._max_sources = max_sources
        self._max_reasons = max_reasons
        self._total = Tally()
        self._sources: dict[str, Tally] = {}

    def capture(self, source: str) -> None:
        """A message of this source was read; it is in flight from now on."""
        for tally in (self._total, self._of(source)):
            tally.captured += 1
            tally.in_flight += 1

    def settle(self, source: str, kind: OutcomeKind, reason: str | None = None) -> None:
        """A message that was in flight came to its end."""
        for tally in (self._total, self._of(source)):
            tally.in_flight -= 1
            if kind == "processed":
                tally.processed += 1
            elif kind == "downgraded":
                tally.downgraded += 1
            else:
                tally.dropped[self._known_reason(reason)] += 1

    def snapshot(self) -> Mapping[str, JsonValue]:
        """`{"total": {...}, "sources": {source: {...}}}`, plain enough for JSON."""
        return {
            "total": self._total.snapshot(),
            "sources": {source: tally.snapshot() for source, tally in self._sources.items()},
        }

    def _of(self, source: str) -> Tally:
        tally = self._sources.get(source)
        if tally is None:
            # Keys are never given up, so a source that overflowed once always does: what was
            # captured under "other" is also settled there.
            key = source if len(self._sources) < self._max_sources else OTHER
            tally = self._sources.setdefault(key, Tally())
        return tally

    def _known_reason(self, reason: str | None) -> str:
        known = self._total.dropped
        name = reason or OTHER
        return name if name in known or len(known) < self._max_reasons else OTHER
