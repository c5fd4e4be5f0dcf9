"""An action as the outside world gets it, the same from every sink."""

from collections.abc import Mapping

import orjson

from app.types import Action, JsonValue


def action_document(action: Action) -> Mapping[str, JsonValue]:
    """`{"id", "agent", "target", "payload"}`. A receiver drops duplicates by `id`."""
    return {
        "id": action.id,
        "agent": action.agent,
        "target": action.target,
        "payload": dict(action.payload),
    }


def action_json(action: Action) -> bytes:
    """The document as one line of JSON; NaN and infinities become null."""
    return orjson.dumps(action_document(action))
