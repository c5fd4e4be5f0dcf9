"""Every error that Manta raises on purpose.

The tree speaks of meaning, not of transport; `app/api/status.py` says what each becomes over HTTP
and gRPC.

MantaError
├── ConfigurationError      a file is wrong; nothing starts
├── RequestError            the caller's fault
│   ├── InvalidInput          a field of the request is wrong
│   ├── Forbidden             it comes from where it may not come from
│   ├── TooLarge              the request is over a limit
│   ├── HeadTooLarge          its headers are
│   ├── TooSlow               it did not come in time
│   ├── UnsupportedMedia      the body's content type or encoding is not handled
│   ├── ModelNotFound
│   ├── PipelineNotFound
│   └── RegionNotFound
├── ServingError            our fault, or our load
│   ├── ModelNotReady         still loading, or failed to load
│   ├── QueueFull             shed: try again later
│   ├── DeadlineExceeded      too late to be of use; not run, or its answer not awaited
│   └── InferenceFailed       the model raised or answered nonsense
├── NotSupported            it is switched off here
└── ConnectorError          the contract between a source or sink and its runner
    ├── NotConnected          connect again after a back-off
    ├── EndOfStream           finished: nothing more will come
    └── ConnectorRejected     never retry: wrong credentials, address or missing library

Errors are built from their message alone (ConfigurationError apart), so they survive pickling
between processes.
"""


class MantaError(Exception):
    """Base of every error raised on purpose; `str(error)` is fit to show to a user."""


class ConfigurationError(MantaError):
    """What is wrong in a configuration file, and where.

    `field` is the path of the field inside the file, `line` counts from 1. Where `reason` lists
    several errors, `parts` are these.
    """

    def __init__(
        self,
        reason: str,
        file: str = "",
        line: int | None = None,
        field: str = "",
        parts: "tuple[ConfigurationError, ...]" = (),
    ) -> None:
        super().__init__(reason, file, line, field, parts)
        self.reason = reason
        self.file = file
        self.line = line
        self.field = field
        self.parts = parts

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.field, self.reason) if part)


class RequestError(MantaError):
    """The caller's fault; sending the same request again gives the same error."""


class InvalidInput(RequestError):
    """A field of the request is wrong; the message names it."""


class Forbidden(RequestError):
    """The request comes from where it may not; the message says what may be configured."""


class TooLarge(RequestError):
    """The request is over a limit; the message says which."""


class HeadTooLarge(RequestError):
    """The request line and headers are over a limit; the message says which."""


class TooSlow(RequestError):
    """The request was not received in time; the message says how long it had."""


class UnsupportedMedia(RequestError):
    """The content type or encoding is not handled; the message says what is."""


class ModelNotFound(RequestError):
    """No such model or version here."""


class PipelineNotFound(RequestError):
    """No such pipeline here."""


class RegionNotFound(RequestError):
    """No such shared memory region is registered."""


class ServingError(MantaError):
    """Not the caller's fault; the same request may succeed later."""


class ModelNotReady(ServingError):
    """The model is loading, failed to load, or its process is away."""


class QueueFull(ServingError):
    """Shed because too much waits already; retry after a pause."""


class DeadlineExceeded(ServingError):
    """The deadline passed, or cannot be met any more."""


class InferenceFailed(ServingError):
    """The model raised, or its output does not fit its metadata."""


class NotSupported(MantaError):
    """What is asked for is switched off here, or not there at all; the message says which."""


class ConnectorError(MantaError):
    """Base of what a Source or Sink may raise to its runner."""


class NotConnected(ConnectorError):
    """The connection is lost or not there yet; the runner connects again after a back-off.

    `retry_after` is the shortest back-off in seconds, where the other side asks for one.
    """

    def __init__(self, message: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EndOfStream(ConnectorError):
    """Nothing more will come from this source; the runner drains and stops."""


class ConnectorRejected(ConnectorError):
    """Retrying cannot help: bad credentials, a refused address, a missing library."""
