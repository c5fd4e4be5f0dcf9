"""The bounded queue between a source and what processes its messages."""

from collections import OrderedDict, deque

from app.interfaces import Received


class OrderedQueue:
    """First in, first out within a source, and never two messages of one source out at once.

    Sources take turns. Putting and taking are constant time, `pop_oldest` is linear in the number
    of sources. The owner keeps the bound, by looking at `full` before it puts.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._next = 0
        self._waiting: OrderedDict[int, Received] = OrderedDict()
        self._by_source: dict[str, deque[int]] = {}
        self._ready: deque[str] = deque()
        self._busy: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        return len(self._waiting) >= self._depth

    def put(self, received: Received) -> None:
        source = received.message.source
        numbers = self._by_source.setdefault(source, deque())
        if not numbers and source not in self._busy:
            self._ready.append(source)
        numbers.append(self._next)
        self._waiting[self._next] = received
        self._next += 1

    def take(self) -> Received | None:
        """The next message whose source is free, or None. `done` must follow."""
        if not self._ready:
            return None
        source = self._ready.popleft()
        self._busy.add(source)
        return self._waiting.pop(self._by_source[source].popleft())

    def done(self, source: str) -> None:
        """The message taken last from this source is finished; its next one may be taken."""
        self._busy.discard(source)
        if self._by_source[source]:
            self._ready.append(source)
        else:
            del self._by_source[source]

    def pop_oldest(self) -> Received | None:
        """The message that waits longest, or None where none waits. No `done` follows."""
        if not self._waiting:
            return None
        _, received = self._waiting.popitem(last=False)
        source = received.message.source
        numbers = self._by_source[source]
        numbers.popleft()
        if not numbers and source not in self._busy:
            del self._by_source[source]
            self._ready.remove(source)
        return received
