"""What the daemon tells, as plain data. Sizes are in the unit a name ends in; times are aware of their zone, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, AnyStr, Generic, Literal, TypedDict, Union

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SandboxState = Literal["creating", "running", "pausing", "paused", "resuming", "dead"]
OnTimeout = Literal["kill", "pause"]
EngineChoice = Literal["auto", "qemu", "firecracker"]
Channel = Literal["stdout", "stderr"]


class AllowList(TypedDict):
    """Names (``example.com``, ``*.example.com``), IPv4 addresses and ranges, each with ``:PORT`` or for every port."""

    allow: list[str]


Network = Union[Literal["none", "full"], AllowList]
"""What a sandbox can reach: nothing, the internet, or what is listed."""


@dataclass(frozen=True)
class SandboxInfo:
    id: str
    template: str
    state: SandboxState
    vcpu: int
    memory_mib: int
    disk_mib: int
    metadata: Mapping[str, str]
    network: Network
    created_at: datetime
    expires_at: datetime | None
    """When it is killed or paused; None for never."""
    on_timeout: OnTimeout
    engine: str
    held: bool
    """Whether it ends with the client that holds it."""
    reason: str | None = None
    """Why it is dead."""
    parent: str | None = None
    """Id of the sandbox it was forked from."""
    max_disk_mib: int | None = None
    """Room on the host that what it writes may take; None for as much as its disk is large."""
    max_processes: int | None = None
    """Processes and threads it may have at once."""


@dataclass(frozen=True)
class PushedSandbox:
    """A sandbox that was handed over to the store."""

    id: str
    digest: str
    """Its address there: ``sha256:…``."""
    sent_bytes: int
    reused_bytes: int
    """Bytes that the store had already."""


@dataclass(frozen=True)
class ProcessInfo:
    id: str
    argv: tuple[str, ...]
    state: Literal["running", "exited"]
    started_at: datetime
    background: bool
    terminal: bool
    stdout_bytes: int
    """Bytes written so far."""
    stderr_bytes: int
    exit_code: int | None = None
    """Of one that has ended; 128 + n for a program ended by signal n."""
    signal: str | None = None
    """The signal that ended it."""
    timed_out: bool = False


@dataclass(frozen=True)
class ExitStatus:
    """How a process ended."""

    exit_code: int
    """128 + n for a program ended by signal n."""
    signal: str | None = None
    timed_out: bool = False


@dataclass(frozen=True)
class ExecResult(Generic[AnyStr]):
    """What a program that was run to its end did."""

    stdout: AnyStr
    stderr: AnyStr
    exit_code: int
    """128 + n for a program ended by signal n."""
    signal: str | None = None
    """The signal that ended it."""
    timed_out: bool = False
    truncated: bool = False
    """Whether output is missing."""


@dataclass(frozen=True)
class Terminal:
    """Size of a terminal."""

    rows: int
    columns: int


@dataclass(frozen=True)
class OutputData:
    """A part of a process's output."""

    channel: Channel
    data: bytes


@dataclass(frozen=True)
class OutputDropped:
    """So many bytes of a process's output are no longer there."""

    channel: Channel
    bytes: int


OutputEvent = Union[OutputData, OutputDropped]


@dataclass(frozen=True)
class FileInfo:
    name: str
    path: str
    type: Literal["file", "directory", "symlink", "other"]
    mode: str
    """Permission bits, octal: ``"644"``."""
    uid: int
    gid: int
    size_bytes: int
    modified_at: datetime
    target: str | None = None
    """Where a symbolic link points."""


@dataclass(frozen=True)
class WatchEvent:
    """A change under a watched directory. After ``overflow`` changes were missed: look at it anew."""

    type: Literal["created", "modified", "removed", "renamed", "overflow"]
    path: str
    to: str | None = None
    """New path, of what was renamed."""


@dataclass(frozen=True)
class Stats:
    """What a sandbox uses now."""

    cpu_ms: float
    """Processor time of the VM."""
    memory_bytes: int
    """Private memory of the VM on the host."""
    disk_bytes: int
    """What the sandbox wrote, on the host."""
    processes: int
    guest_memory_total_bytes: int
    guest_memory_available_bytes: int


@dataclass(frozen=True)
class Template:
    name: str
    source: Literal["built-in", "user", "snapshot"]
    built: bool
    hash: str | None = None
    vcpu: int | None = None
    memory_mib: int | None = None
    problem: str | None = None
    """Why its spec cannot be used."""
    spec: Mapping[str, Any] | None = None
    """As it was written."""


@dataclass(frozen=True)
class DiskEntry:
    """Something that takes room on the daemon's disk."""

    kind: Literal["template", "snapshot", "sandbox", "cache"]
    name: str
    own_bytes: int
    """Only this one needs them."""
    shared_bytes: int
    """This one needs them, and others as well."""


@dataclass(frozen=True)
class DiskUsage:
    total_bytes: int
    """All of the daemon's folder: the own bytes of every entry, and ``shared_bytes``."""
    shared_bytes: int
    """Needed by several entries, each counted once."""
    free_bytes: int
    """Left on the file system."""
    entries: tuple[DiskEntry, ...]


@dataclass(frozen=True)
class CollectedPart:
    """Something that a collection removed or kept, and why."""

    kind: Literal["template", "snapshot", "kernel", "agent", "image", "build", "log", "leftover"]
    name: str
    reason: str
    bytes: int


@dataclass(frozen=True)
class Collected:
    dry_run: bool
    removed: tuple[CollectedPart, ...]
    removed_bytes: int
    kept: tuple[CollectedPart, ...]
    skipped: tuple[str, ...]
    """What was not looked at, and why."""


@dataclass(frozen=True)
class ErrorInfo:
    """An error as data."""

    code: str
    message: str
    hint: str | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Build:
    id: str
    template: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    created_at: datetime
    finished_at: datetime | None = None
    error: ErrorInfo | None = None
    queue_position: int | None = None
    """Its place among the builds that wait: 1 is the next to run."""


@dataclass(frozen=True)
class BuildStage:
    """A stage of a build began or ended."""

    stage: str
    status: Literal["started", "done", "failed"]
    elapsed_ms: float | None = None


@dataclass(frozen=True)
class BuildMessage:
    """What a stage of a build is at."""

    stage: str
    message: str
    fraction: float | None = None
    """How far it is, from 0 to 1."""


@dataclass(frozen=True)
class BuildEnd:
    """The last event of a build."""

    build: Build


BuildEvent = Union[BuildStage, BuildMessage, BuildEnd]


@dataclass(frozen=True)
class Health:
    status: Literal["ok"]
    version: str
    pid: int
    uptime_s: float


@dataclass(frozen=True)
class Limits:
    max_sandboxes: int
    max_memory_mib: int
    min_free_disk_mib: int


@dataclass(frozen=True)
class Usage:
    sandboxes: int
    memory_mib: int
    free_disk_mib: int


@dataclass(frozen=True)
class Info:
    """A daemon, its limits, and how much of them is used."""

    version: str
    api_version: int
    home: str
    limits: Limits
    usage: Usage
    engine: str | None = None
    accelerator: str | None = None
