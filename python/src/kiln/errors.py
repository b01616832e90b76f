"""Every failure the SDK reports: one class for each code, and one table of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ERROR_TYPES",
    "BaseImageUnavailableError",
    "BlockFailedError",
    "BuildFailedError",
    "BuildInterruptedError",
    "BuildNotFoundError",
    "BuildTimeoutError",
    "CapacityError",
    "ConflictError",
    "ConnectionLostError",
    "DiskFullError",
    "GuestError",
    "GuestProtocolError",
    "HostUnsupportedError",
    "ImageInvalidError",
    "InternalError",
    "KilnCancelledError",
    "KilnError",
    "KilnTimeoutError",
    "LimitReachedError",
    "NetworkFailedError",
    "NotFoundError",
    "PortUnreachableError",
    "ProcessNotFoundError",
    "SandboxFileNotFoundError",
    "SandboxNotFoundError",
    "SandboxPermissionError",
    "SandboxStateError",
    "ShuttingDownError",
    "SpecInvalidError",
    "StoreDamagedError",
    "StoreUnavailableError",
    "StoreUntrustedError",
    "TemplateNotFoundError",
    "TooLargeError",
    "UnauthorizedError",
    "UnreachableError",
    "UsageError",
    "VmFailedError",
]


class KilnError(Exception):
    """A failure with a stable code, a message for people and, where there is one, a hint.

    Each code has a class of its own. A code of a later daemon that has none here is a plain ``KilnError`` with that
    code.

        try:
            sandbox = client.get("abc")
        except SandboxNotFoundError:
            sandbox = None
    """

    code: str = "INTERNAL"
    """Stable; messages are not."""
    message: str
    hint: str | None
    """What to do about it, one sentence."""
    details: Mapping[str, Any]
    """Machine-readable particulars; empty when there are none."""
    status: int | None
    """HTTP status, of what the daemon answered."""
    request: str | None
    """Method and route, such as ``POST /v1/sandboxes``."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        status: int | None = None,
        request: str | None = None,
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.message = message
        self.hint = hint
        self.details = {} if details is None else dict(details)
        self.status = status
        self.request = request

    def __str__(self) -> str:
        # The class tells the code, except of a code that has none.
        text = self.message if self.code in ERROR_TYPES else f"{self.code}: {self.message}"
        return text if self.hint is None else f"{text}\nhint: {self.hint}"


class SpecInvalidError(KilnError):
    """A TemplateSpec breaks its schema."""

    code = "SPEC_INVALID"


class UsageError(KilnError):
    """A request that makes no sense; ``details["issues"]`` names each field."""

    code = "USAGE"


class UnauthorizedError(KilnError):
    """No token, or one the daemon does not know."""

    code = "UNAUTHORIZED"


class NotFoundError(KilnError):
    """There is no such thing; what is missing has a class of its own below this one."""

    code = "NOT_FOUND"


class SandboxNotFoundError(NotFoundError):
    code = "SANDBOX_NOT_FOUND"


class ProcessNotFoundError(NotFoundError):
    code = "PROCESS_NOT_FOUND"


class BuildNotFoundError(NotFoundError):
    code = "BUILD_NOT_FOUND"


class TemplateNotFoundError(NotFoundError):
    code = "TEMPLATE_NOT_FOUND"


class SandboxFileNotFoundError(NotFoundError, FileNotFoundError):
    """No such file in the sandbox. A ``FileNotFoundError`` as well."""

    code = "FILE_NOT_FOUND"


class SandboxPermissionError(KilnError, PermissionError):
    """The guest refused it to the user it was asked for. A ``PermissionError`` as well."""

    code = "PERMISSION_DENIED"


class SandboxStateError(KilnError):
    """Not in this state of the sandbox: it is paused, or dead."""

    code = "SANDBOX_STATE"


class ConflictError(KilnError):
    """It exists already, or a short id means several."""

    code = "CONFLICT"


class TooLargeError(KilnError):
    code = "TOO_LARGE"


class LimitReachedError(KilnError):
    """As many sandboxes, builds or processes as the daemon allows."""

    code = "LIMIT_REACHED"


class CapacityError(KilnError):
    """Not enough memory or disk left on the host for another sandbox."""

    code = "CAPACITY"


class PortUnreachableError(KilnError):
    """Nothing listens on this port of the sandbox."""

    code = "PORT_UNREACHABLE"


class ShuttingDownError(KilnError):
    code = "SHUTTING_DOWN"


class HostUnsupportedError(KilnError):
    code = "HOST_UNSUPPORTED"


class BuildFailedError(KilnError):
    code = "BUILD_FAILED"


class BaseImageUnavailableError(KilnError):
    code = "BASE_IMAGE_UNAVAILABLE"


class BuildTimeoutError(KilnError):
    """A step of the build took longer than it may; details say which one."""

    code = "BUILD_TIMEOUT"


class BuildInterruptedError(KilnError):
    """The build, or the daemon under it, was ended by something else. Built again, it goes on from the step cache."""

    code = "BUILD_INTERRUPTED"


class ImageInvalidError(KilnError):
    code = "IMAGE_INVALID"


class DiskFullError(KilnError):
    code = "DISK_FULL"


class VmFailedError(KilnError):
    code = "VM_FAILED"


class GuestProtocolError(KilnError):
    """The guest does not keep to the protocol; it is not trusted any further."""

    code = "GUEST_PROTOCOL"


class GuestError(KilnError):
    """The guest's system refused it; the message says why."""

    code = "GUEST_ERROR"


class BlockFailedError(KilnError):
    code = "BLOCK_FAILED"


class StoreUnavailableError(KilnError):
    """The node's store does not answer."""

    code = "STORE_UNAVAILABLE"


class StoreDamagedError(KilnError):
    """What the store has is not what was put there."""

    code = "STORE_DAMAGED"


class StoreUntrustedError(KilnError):
    """Nobody whom the node trusts has signed it."""

    code = "STORE_UNTRUSTED"


class NetworkFailedError(KilnError):
    code = "NETWORK_FAILED"


class KilnTimeoutError(KilnError, TimeoutError):
    """Something took longer than it may. A ``TimeoutError`` as well."""

    code = "TIMEOUT"


class KilnCancelledError(KilnError):
    """Somebody cancelled it, such as a build."""

    code = "CANCELLED"


class InternalError(KilnError):
    """Something went wrong inside the daemon, or it answered what no daemon should."""

    code = "INTERNAL"


class UnreachableError(KilnError, ConnectionError):
    """No request could be sent to a daemon: nothing was done. A ``ConnectionError`` as well."""

    code = "UNREACHABLE"


class ConnectionLostError(KilnError, ConnectionError):
    """A connection broke before the answer was there: it is not known whether the daemon did what was asked."""

    code = "CONNECTION_LOST"


ERROR_TYPES: Mapping[str, type[KilnError]] = MappingProxyType(
    {
        kind.code: kind
        for kind in (
            SpecInvalidError,
            UsageError,
            UnauthorizedError,
            NotFoundError,
            SandboxNotFoundError,
            ProcessNotFoundError,
            BuildNotFoundError,
            SandboxFileNotFoundError,
            SandboxPermissionError,
            SandboxStateError,
            ConflictError,
            TooLargeError,
            LimitReachedError,
            CapacityError,
            PortUnreachableError,
            ShuttingDownError,
            TemplateNotFoundError,
            HostUnsupportedError,
            BuildFailedError,
            BaseImageUnavailableError,
            BuildTimeoutError,
            BuildInterruptedError,
            ImageInvalidError,
            DiskFullError,
            VmFailedError,
            GuestProtocolError,
            GuestError,
            BlockFailedError,
            NetworkFailedError,
            StoreUnavailableError,
            StoreDamagedError,
            StoreUntrustedError,
            KilnTimeoutError,
            KilnCancelledError,
            InternalError,
            UnreachableError,
            ConnectionLostError,
        )
    }
)
"""The class of each code; docs/api.md says what the daemon's mean."""
