"""Sandboxes that start in well under a second: the client of Kiln.

    from kiln import Client

    client = Client()
    with client.sandbox(image="python") as sandbox:
        result = sandbox.exec(["python3", "-c", "print(6 * 7)"])
        print(result.stdout, result.exit_code)

``AsyncClient`` is the same for event loops. Every error is in ``kiln.errors``, all that calls give in ``kiln.types``.
"""

from ._async.builds import AsyncBuilds
from ._async.byte_stream import AsyncByteStream
from ._async.client import AsyncClient
from ._async.disk import AsyncDisk
from ._async.files import AsyncFiles
from ._async.forward import AsyncPortForward
from ._async.opening import Opening
from ._async.output import AsyncOutputReader
from ._async.port_response import AsyncPortResponse
from ._async.process import AsyncProcess
from ._async.sandbox import AsyncSandbox
from ._async.templates import AsyncTemplates
from ._async.watch import AsyncWatch
from ._sync.builds import Builds
from ._sync.byte_stream import ByteStream
from ._sync.client import Client
from ._sync.disk import Disk
from ._sync.files import Files
from ._sync.forward import PortForward
from ._sync.output import OutputReader
from ._sync.port_response import PortResponse
from ._sync.process import Process
from ._sync.sandbox import Sandbox
from ._sync.templates import Templates
from ._sync.watch import Watch
from .errors import (
    ERROR_TYPES,
    BaseImageUnavailableError,
    BlockFailedError,
    BuildFailedError,
    BuildInterruptedError,
    BuildNotFoundError,
    BuildTimeoutError,
    CapacityError,
    ConflictError,
    ConnectionLostError,
    DiskFullError,
    GuestError,
    GuestProtocolError,
    HostUnsupportedError,
    ImageInvalidError,
    InternalError,
    KilnCancelledError,
    KilnError,
    KilnTimeoutError,
    LimitReachedError,
    NetworkFailedError,
    NotFoundError,
    PortUnreachableError,
    ProcessNotFoundError,
    SandboxFileNotFoundError,
    SandboxNotFoundError,
    SandboxPermissionError,
    SandboxStateError,
    ShuttingDownError,
    SpecInvalidError,
    StoreDamagedError,
    StoreUnavailableError,
    StoreUntrustedError,
    TemplateNotFoundError,
    TooLargeError,
    UnauthorizedError,
    UnreachableError,
    UsageError,
    VmFailedError,
)
from .types import (
    AllowList,
    Build,
    BuildEnd,
    BuildEvent,
    BuildMessage,
    BuildStage,
    Channel,
    Collected,
    CollectedPart,
    DiskEntry,
    DiskUsage,
    EngineChoice,
    ErrorInfo,
    ExecResult,
    ExitStatus,
    FileInfo,
    Health,
    Info,
    Limits,
    Network,
    OnTimeout,
    OutputData,
    OutputDropped,
    OutputEvent,
    ProcessInfo,
    PushedSandbox,
    SandboxInfo,
    SandboxState,
    Stats,
    Template,
    Terminal,
    Usage,
    WatchEvent,
)
from .version import __version__

__all__ = [
    "ERROR_TYPES",
    "AllowList",
    "AsyncBuilds",
    "AsyncByteStream",
    "AsyncClient",
    "AsyncDisk",
    "AsyncFiles",
    "AsyncOutputReader",
    "AsyncPortForward",
    "AsyncPortResponse",
    "AsyncProcess",
    "AsyncSandbox",
    "AsyncTemplates",
    "AsyncWatch",
    "BaseImageUnavailableError",
    "BlockFailedError",
    "Build",
    "BuildEnd",
    "BuildEvent",
    "BuildFailedError",
    "BuildInterruptedError",
    "BuildMessage",
    "BuildNotFoundError",
    "BuildStage",
    "BuildTimeoutError",
    "Builds",
    "ByteStream",
    "CapacityError",
    "Channel",
    "Client",
    "Collected",
    "CollectedPart",
    "ConflictError",
    "ConnectionLostError",
    "Disk",
    "DiskEntry",
    "DiskFullError",
    "DiskUsage",
    "EngineChoice",
    "ErrorInfo",
    "ExecResult",
    "ExitStatus",
    "FileInfo",
    "Files",
    "GuestError",
    "GuestProtocolError",
    "Health",
    "HostUnsupportedError",
    "ImageInvalidError",
    "Info",
    "InternalError",
    "KilnCancelledError",
    "KilnError",
    "KilnTimeoutError",
    "LimitReachedError",
    "Limits",
    "Network",
    "NetworkFailedError",
    "NotFoundError",
    "OnTimeout",
    "Opening",
    "OutputData",
    "OutputDropped",
    "OutputEvent",
    "OutputReader",
    "PortForward",
    "PortResponse",
    "PortUnreachableError",
    "Process",
    "ProcessInfo",
    "ProcessNotFoundError",
    "PushedSandbox",
    "Sandbox",
    "SandboxFileNotFoundError",
    "SandboxInfo",
    "SandboxNotFoundError",
    "SandboxPermissionError",
    "SandboxState",
    "SandboxStateError",
    "ShuttingDownError",
    "SpecInvalidError",
    "Stats",
    "StoreDamagedError",
    "StoreUnavailableError",
    "StoreUntrustedError",
    "Template",
    "TemplateNotFoundError",
    "Templates",
    "Terminal",
    "TooLargeError",
    "UnauthorizedError",
    "UnreachableError",
    "Usage",
    "UsageError",
    "VmFailedError",
    "Watch",
    "WatchEvent",
    "__version__",
]
