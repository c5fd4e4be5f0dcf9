"""Whether a loaded model still works: what no single request can tell."""

from collections.abc import Callable
from math import inf
from threading import get_ident

from app.errors import RequestError

SAME_FAILURES = 3
"""So many runs in a row that fail in the same way make the model a suspect."""


class Health:
    """Watches the runs of one model, one at a time in each thread.

    A suspect is tried with `probe`, a run that once worked: only if that fails too is the model
    itself at fault, for good. A run that takes longer than `max_run_seconds` is taken to hang, for
    as long as it lasts. A RequestError is the request's fault, and does not count.

    `probe` is None until there is one. As long as nothing ever worked, a broken model cannot be
    told from wrong requests, whose senders must not be able to have its process replaced.
    """

    def __init__(
        self,
        probe: Callable[[], object] | None,
        *,
        max_run_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.probe = probe
        self._max_run_seconds = max_run_seconds
        self._monotonic = monotonic
        self._started: dict[int, float] = {}
        self._last = ""
        self._times = 0
        self._fault = ""

    @property
    def fault(self) -> str:
        """Why the model cannot be used any more, or nothing."""
        if self._started:
            longest = self._monotonic() - min(self._started.copy().values(), default=inf)
            if longest > self._max_run_seconds:
                return f"a run has taken more than {self._max_run_seconds:g} s"
        return self._fault

    def run_starts(self) -> None:
        self._started[get_ident()] = self._monotonic()

    def run_worked(self) -> None:
        self._started.pop(get_ident(), None)
        self._times = 0

    def run_failed(self, error: Exception) -> None:
        """To be called where the model runs, since it may run it once more."""
        if not isinstance(error, RequestError):
            self._count(error)
        self._started.pop(get_ident(), None)

    def _count(self, error: Exception) -> None:
        signature = f"{type(error).__name__}: {error}"
        self._times = self._times + 1 if signature == self._last else 1
        self._last = signature
        if self._times >= SAME_FAILURES and self.probe is not None:
            self._times = 0
            try:
                self.probe()
            except Exception as broken:  # noqa: BLE001 - a runtime may raise anything
                self._fault = f"every run fails, the probe too: {type(broken).__name__}"
