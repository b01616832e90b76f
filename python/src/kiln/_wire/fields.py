"""Takes a daemon's JSON apart: every field's type is checked, and fields of a later daemon are left alone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, TypeVar, cast

from ..errors import InternalError

T = TypeVar("T")

# RFC 3339 in UTC. datetime.fromisoformat takes neither the Z nor fractions of any length before Python 3.11.
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")


class Fields:
    """The fields of one JSON object.

    Raises InternalError that names the field when one is missing or is not what it has to be.
    """

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise _malformed(what, "an object", value)
        self._value: dict[str, object] = value
        self._what = what

    def maybe(self, name: str, read: Callable[[str], T]) -> T | None:
        """A field that may be missing or null: ``fields.maybe("reason", fields.text)``."""
        return None if self._value.get(name) is None else read(name)

    def text(self, name: str) -> str:
        value = self._value.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "text")
        return value

    def whole(self, name: str) -> int:
        value = self._value.get(name)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "a whole number")
        return value

    def number(self, name: str) -> float:
        value = self._value.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._wrong(name, "a number")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self._value.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def moment(self, name: str) -> datetime:
        value = self._value.get(name)
        match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise self._wrong(name, "a time in UTC")
        *parts, fraction = match.groups()
        try:
            whole = datetime(*map(int, parts), tzinfo=timezone.utc)  # type: ignore[arg-type,misc]
        except ValueError:
            raise self._wrong(name, "a time in UTC") from None
        return whole + timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))

    def choice(self, name: str, choices: tuple[T, ...]) -> T:
        value = self._value.get(name)
        for choice in choices:
            if value == choice:
                return choice
        raise self._wrong(name, f"one of {', '.join(map(str, choices))}")

    def texts(self, name: str) -> list[str]:
        value = self._value.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a list of texts")
        return value

    def table(self, name: str) -> dict[str, str]:
        """An object whose values are texts."""
        value = self._value.get(name)
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self._wrong(name, "an object of texts")
        return value

    def anything(self, name: str) -> dict[str, Any]:
        """An object that is passed on as it is."""
        value = self._value.get(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return cast("dict[str, Any]", value)

    def each(self, name: str, parse: Callable[[object], T]) -> list[T]:
        value = self._value.get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return [parse(item) for item in value]

    def of(self, name: str, parse: Callable[[object], T]) -> T:
        return parse(self._value.get(name))

    def _wrong(self, name: str, expected: str) -> InternalError:
        return _malformed(f"{self._what}.{name}", expected, self._value.get(name))


def _malformed(what: str, expected: str, value: object) -> InternalError:
    return InternalError(
        f"the daemon's answer: {what} is {value!r:.80} where {expected} belongs",
        hint="are the daemon and this client of versions that go together?",
    )
