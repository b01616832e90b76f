"""Files of a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import answers
from ..request import Call, Request, Scalar, given
from .sandboxes import path_of

if TYPE_CHECKING:
    from ...types import FileInfo


def read(sandbox_id: str, path: str, offset: int | None, length: int | None) -> Request:
    return Request("GET", path_of(sandbox_id, "/files"), {"path": path, "offset": offset, "length": length})


def write(sandbox_id: str, path: str, mode: str | None, parents: bool, user: str | None) -> Call[FileInfo]:
    """The body is the content."""
    query: dict[str, Scalar] = {"path": path, "mode": mode, "parents": parents or None, "user": user}
    return Call(Request("PUT", path_of(sandbox_id, "/files"), query), answers.file_info)


def stat(sandbox_id: str, path: str, follow: bool) -> Call[FileInfo]:
    query: dict[str, Scalar] = {"path": path, "follow": follow}
    return Call(Request("GET", path_of(sandbox_id, "/files/stat"), query), answers.file_info)


def list_directory(sandbox_id: str, path: str) -> Call[list[FileInfo]]:
    request = Request("GET", path_of(sandbox_id, "/files/list"), {"path": path})
    return Call(request, answers.listed("entries", answers.file_info))


def mkdir(sandbox_id: str, path: str, mode: str | None, parents: bool, user: str | None) -> Call[None]:
    options: dict[str, object | None] = {"path": path, "mode": mode, "parents": parents, "user": user}
    return Call(Request("POST", path_of(sandbox_id, "/files/mkdir"), json=given(options)), answers.nothing)


def rename(sandbox_id: str, source: str, target: str) -> Call[None]:
    json = {"from": source, "to": target}
    return Call(Request("POST", path_of(sandbox_id, "/files/rename"), json=json), answers.nothing)


def remove(sandbox_id: str, path: str, recursive: bool) -> Call[None]:
    query = {"path": path, "recursive": recursive or None}
    return Call(Request("DELETE", path_of(sandbox_id, "/files"), query), answers.nothing)


def watch(sandbox_id: str, path: str, recursive: bool) -> Request:
    return Request("GET", path_of(sandbox_id, "/files/watch"), {"path": path, "recursive": recursive or None})


def tar(sandbox_id: str, path: str) -> Request:
    return Request("GET", path_of(sandbox_id, "/files/tar"), {"path": path})


def untar(sandbox_id: str, path: str) -> Call[None]:
    """The body is the archive."""
    return Call(Request("PUT", path_of(sandbox_id, "/files/tar"), {"path": path}), answers.nothing)
