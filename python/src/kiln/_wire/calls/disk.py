"""The daemon's disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import answers
from ..request import Call, Request, given

if TYPE_CHECKING:
    from ...types import Collected, DiskUsage


def usage() -> Call[DiskUsage]:
    return Call(Request("GET", "/v1/disk"), answers.disk_usage)


def collect(dry_run: bool, keep: int, older_than: float | None) -> Call[Collected]:
    json = {"dry_run": dry_run, "keep": keep, **given({"older_than_s": older_than})}
    return Call(Request("POST", "/v1/gc", json=json), answers.collected)
