"""Files of a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.calls import files as calls
from .._wire.deadline import Deadline
from .._wire.http import MAX_WHOLE_BYTES
from ..errors import SandboxFileNotFoundError
from .byte_stream import ByteStream
from .watch import Watch

if TYPE_CHECKING:
    import builtins

    from .._wire.bodies import Content
    from ..types import FileInfo
    from .transport import Transport


class Files:
    """Files of a sandbox. A path without a leading slash begins at the template's working directory.

    Every call raises SandboxFileNotFoundError, SandboxPermissionError, ConflictError (it exists, or is a directory that
    is not empty), or GuestError for all else the guest's system refuses.
    """

    def __init__(self, transport: Transport, sandbox_id: str) -> None:
        self._transport = transport
        self._id = sandbox_id

    def read(
        self, path: str, *, offset: int | None = None, length: int | None = None, request_timeout: float | None = None
    ) -> bytes:
        """A file's bytes, or ``length`` of them from ``offset`` on.

        Raises TooLargeError over 256 MiB: use ``stream``.
        """
        deadline = Deadline(request_timeout)
        answer = self._transport.send(calls.read(self._id, path, offset, length), deadline=deadline)
        return answer.read(MAX_WHOLE_BYTES, deadline)

    def read_text(self, path: str, *, request_timeout: float | None = None) -> str:
        """A file as text in UTF-8. Raises UnicodeDecodeError when it is none."""
        return self.read(path, request_timeout=request_timeout).decode()

    def stream(
        self, path: str, *, offset: int | None = None, length: int | None = None, request_timeout: float | None = None
    ) -> ByteStream:
        """A file's bytes as they come, with flat memory. The time limit is for its beginning."""
        request = calls.read(self._id, path, offset, length)
        return ByteStream(self._transport.send(request, deadline=Deadline(request_timeout)))

    def write(
        self,
        path: str,
        content: Content,
        *,
        mode: str | None = None,
        parents: bool = False,
        user: str | None = None,
        request_timeout: float | None = None,
    ) -> FileInfo:
        """Writes a file, which takes the old one's place when all of it has arrived.

        content: text, bytes, a file open for reading bytes, or an iterable of bytes. The last two are sent with flat
            memory.
        mode: permission bits, octal; ``"644"`` when None.
        parents: whether to make missing directories.
        user: owner: name, name:group, uid or uid:gid.

            with open("big.bin", "rb") as file:
                sandbox.files.write("data/big.bin", file, parents=True)
        """
        return self._transport.call(
            calls.write(self._id, path, mode, parents, user), content, Deadline(request_timeout)
        )

    def stat(self, path: str, *, follow: bool = True, request_timeout: float | None = None) -> FileInfo:
        """What is known of a file; of a symbolic link itself with ``follow=False``."""
        return self._transport.call(calls.stat(self._id, path, follow), deadline=Deadline(request_timeout))

    def exists(self, path: str, *, request_timeout: float | None = None) -> bool:
        """Whether there is a file of this name."""
        try:
            self.stat(path, follow=False, request_timeout=request_timeout)
        except SandboxFileNotFoundError:
            return False
        return True

    def list(self, path: str, *, request_timeout: float | None = None) -> builtins.list[FileInfo]:
        """What is in a directory, by name."""
        return self._transport.call(calls.list_directory(self._id, path), deadline=Deadline(request_timeout))

    def mkdir(
        self,
        path: str,
        *,
        mode: str | None = None,
        parents: bool = False,
        user: str | None = None,
        request_timeout: float | None = None,
    ) -> None:
        """Makes a directory. ``parents``: missing ones above it as well, and no error when it exists."""
        call = calls.mkdir(self._id, path, mode, parents, user)
        self._transport.call(call, deadline=Deadline(request_timeout))

    def rename(self, source: str, target: str, *, request_timeout: float | None = None) -> None:
        """Gives a file another name, or another place in its file system."""
        self._transport.call(calls.rename(self._id, source, target), deadline=Deadline(request_timeout))

    def remove(self, path: str, *, recursive: bool = False, request_timeout: float | None = None) -> None:
        """Removes a file, or with ``recursive`` a directory with all it holds."""
        self._transport.call(calls.remove(self._id, path, recursive), deadline=Deadline(request_timeout))

    def watch(self, path: str, *, recursive: bool = False, request_timeout: float | None = None) -> Watch:
        """Tells of changes in a directory, or of a file. Nothing that happens after this has returned is missed; where
        too much happened at once, an event ``overflow`` says so. The time limit is for its beginning.
        """
        request = calls.watch(self._id, path, recursive)
        return Watch(self._transport.send(request, deadline=Deadline(request_timeout)), path)

    def tar(self, path: str, *, request_timeout: float | None = None) -> ByteStream:
        """A directory with all it holds, as a tar stream. The time limit is for its beginning."""
        return ByteStream(self._transport.send(calls.tar(self._id, path), deadline=Deadline(request_timeout)))

    def untar(self, path: str, archive: Content, *, request_timeout: float | None = None) -> None:
        """Unpacks a tar stream into a directory, which is made when it is missing.

        archive: as ``content`` of ``write``; what ``tar`` gives will do.
        """
        self._transport.call(calls.untar(self._id, path), archive, Deadline(request_timeout))
