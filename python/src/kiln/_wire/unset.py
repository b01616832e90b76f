"""The mark of an option that was not given, where None has a meaning of its own."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, TypeVar, Union

if TYPE_CHECKING:
    from collections.abc import Mapping


class Unset(enum.Enum):
    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET

T = TypeVar("T")

Maybe = Union[T, Unset]


def set_only(options: Mapping[str, Maybe[T]]) -> dict[str, T]:
    """Options without those that were not given."""
    return {name: value for name, value in options.items() if not isinstance(value, Unset)}
