"""A daemon's error body as an error."""

from __future__ import annotations

import json
from typing import Any

from ..errors import ERROR_TYPES, KilnError


def to_error(body: object, *, status: int | None = None, request: str | None = None) -> KilnError:
    """The error a daemon tells of. One that says nothing is ``INTERNAL``; a code that is not known here stays what it
    is.

    body: JSON, ``{"code", "message", "hint"?, "details"?}``.
    """
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    code, message, hint, details = (told.get(name) for name in ("code", "message", "hint", "details"))
    if not isinstance(code, str) or code == "":
        code = "INTERNAL"
    if not isinstance(message, str):
        message = f"the daemon answered {'an error' if status is None else status} without saying why"
    kind = ERROR_TYPES.get(code, KilnError)
    return kind(
        message,
        code=code,
        hint=hint if isinstance(hint, str) else None,
        details=details if isinstance(details, dict) else None,
        status=status,
        request=request,
    )


def error_of_answer(status: int, content: bytes, request: str) -> KilnError:
    """The error of an answer that is not 2xx, whatever it has as its body."""
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    return to_error(body, status=status, request=request)
