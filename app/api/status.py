"""What each error becomes over HTTP and over gRPC: the one table of both doors."""

from typing import NamedTuple

from app import errors


class Status(NamedTuple):
    """An HTTP status and the name of a gRPC status code."""

    http: int
    grpc: str


STATUS: dict[type[errors.MantaError], Status] = {
    errors.ConfigurationError: Status(500, "INTERNAL"),
    errors.InvalidInput: Status(400, "INVALID_ARGUMENT"),
    errors.Forbidden: Status(403, "PERMISSION_DENIED"),
    errors.TooLarge: Status(413, "RESOURCE_EXHAUSTED"),
    errors.HeadTooLarge: Status(431, "RESOURCE_EXHAUSTED"),
    errors.TooSlow: Status(408, "DEADLINE_EXCEEDED"),
    errors.UnsupportedMedia: Status(415, "INVALID_ARGUMENT"),
    errors.NotSupported: Status(501, "UNIMPLEMENTED"),
    errors.ModelNotFound: Status(404, "NOT_FOUND"),
    errors.PipelineNotFound: Status(404, "NOT_FOUND"),
    errors.RegionNotFound: Status(404, "NOT_FOUND"),
    errors.ModelNotReady: Status(503, "UNAVAILABLE"),
    errors.QueueFull: Status(503, "UNAVAILABLE"),
    errors.DeadlineExceeded: Status(504, "DEADLINE_EXCEEDED"),
    errors.InferenceFailed: Status(500, "INTERNAL"),
    errors.NotConnected: Status(503, "UNAVAILABLE"),
    errors.EndOfStream: Status(503, "UNAVAILABLE"),
    errors.ConnectorRejected: Status(503, "UNAVAILABLE"),
}

INTERNAL = Status(500, "INTERNAL")

RETRY_AFTER_SECONDS = 1

MAX_TEXT = 1000
"""An error may repeat what the caller sent, but not all of a large body."""


def status_of(error: Exception) -> Status:
    """The status of an error; INTERNAL for one that Manta did not raise on purpose."""
    return STATUS.get(type(error), INTERNAL) if isinstance(error, errors.MantaError) else INTERNAL


def retry_headers(http_status: int) -> dict[str, str]:
    """What tells a caller to come back, where coming back can help."""
    return {"retry-after": str(RETRY_AFTER_SECONDS)} if http_status == 503 else {}


def text_of(error: Exception) -> str:
    """What a caller may read of an error: nothing of the inside of one that is our fault."""
    if isinstance(error, errors.MantaError) and not isinstance(error, errors.ConfigurationError):
        text = str(error)
        return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
    return "internal error"
