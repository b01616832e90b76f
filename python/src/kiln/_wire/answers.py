"""The daemon's answers as the SDK's types. Each function takes JSON, and raises InternalError when it is not that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Literal, TypeVar, get_args

from ..types import (
    AllowList,
    Build,
    BuildEnd,
    BuildEvent,
    BuildMessage,
    BuildStage,
    Collected,
    CollectedPart,
    DiskEntry,
    DiskUsage,
    ErrorInfo,
    FileInfo,
    Health,
    Info,
    Limits,
    Network,
    OnTimeout,
    ProcessInfo,
    PushedSandbox,
    SandboxInfo,
    SandboxState,
    Stats,
    Template,
    Usage,
    WatchEvent,
)
from .fields import Fields

if TYPE_CHECKING:
    from typing import Any

T = TypeVar("T")

_SANDBOX_STATES: tuple[SandboxState, ...] = get_args(SandboxState)
_ON_TIMEOUT: tuple[OnTimeout, ...] = get_args(OnTimeout)
_PROCESS_STATES: tuple[Literal["running", "exited"], ...] = ("running", "exited")
_FILE_TYPES: tuple[Literal["file", "directory", "symlink", "other"], ...] = ("file", "directory", "symlink", "other")
_CHANGES: tuple[Literal["created", "modified", "removed", "renamed", "overflow"], ...] = (
    "created",
    "modified",
    "removed",
    "renamed",
    "overflow",
)
_SOURCES: tuple[Literal["built-in", "user", "snapshot"], ...] = ("built-in", "user", "snapshot")
_BUILD_STATES: tuple[Literal["queued", "running", "done", "failed", "cancelled"], ...] = (
    "queued",
    "running",
    "done",
    "failed",
    "cancelled",
)
_STAGE_STATUSES: tuple[Literal["started", "done", "failed"], ...] = ("started", "done", "failed")
_DISK_KINDS: tuple[Literal["template", "snapshot", "sandbox", "cache"], ...] = (
    "template",
    "snapshot",
    "sandbox",
    "cache",
)
_PART_KINDS: tuple[Literal["template", "snapshot", "kernel", "agent", "image", "build", "log", "leftover"], ...] = (
    "template",
    "snapshot",
    "kernel",
    "agent",
    "image",
    "build",
    "log",
    "leftover",
)
_WELL: tuple[Literal["ok"], ...] = ("ok",)
_WORDS_OF_NETWORK: tuple[Literal["none", "full"], ...] = ("none", "full")


def listed(name: str, parse: Callable[[object], T]) -> Callable[[object], list[T]]:
    """Reads ``{name: [...]}``."""
    return lambda value: Fields(value, name).each(name, parse)


def nothing(_: object) -> None:
    """For an answer without content."""


def anything(value: object) -> Any:
    return value


def sandbox_info(value: object) -> SandboxInfo:
    f = Fields(value, "sandbox")
    return SandboxInfo(
        id=f.text("id"),
        template=f.text("template"),
        state=f.choice("state", _SANDBOX_STATES),
        vcpu=f.whole("vcpu"),
        memory_mib=f.whole("memory_mib"),
        disk_mib=f.whole("disk_mib"),
        metadata=f.table("metadata"),
        network=f.of("network", _network),
        created_at=f.moment("created_at"),
        expires_at=f.maybe("expires_at", f.moment),
        on_timeout=f.choice("on_timeout", _ON_TIMEOUT),
        engine=f.text("engine"),
        held=f.flag("held"),
        reason=f.maybe("reason", f.text),
        parent=f.maybe("parent", f.text),
        max_disk_mib=f.maybe("max_disk_mib", f.whole),
        max_processes=f.maybe("max_processes", f.whole),
    )


def _network(value: object) -> Network:
    if isinstance(value, dict):
        return AllowList(allow=Fields(value, "sandbox.network").texts("allow"))
    return Fields({"network": value}, "sandbox").choice("network", _WORDS_OF_NETWORK)


def sandbox_page(value: object) -> tuple[list[SandboxInfo], str | None]:
    """Sandboxes, and the cursor of the next page."""
    f = Fields(value, "list")
    return f.each("sandboxes", sandbox_info), f.maybe("next_cursor", f.text)


def stats(value: object) -> Stats:
    f = Fields(value, "stats")
    return Stats(
        cpu_ms=f.number("cpu_ms"),
        memory_bytes=f.whole("memory_bytes"),
        disk_bytes=f.whole("disk_bytes"),
        processes=f.whole("processes"),
        guest_memory_total_bytes=f.whole("guest_memory_total_bytes"),
        guest_memory_available_bytes=f.whole("guest_memory_available_bytes"),
    )


def pushed_sandbox(value: object) -> PushedSandbox:
    f = Fields(value, "pushed sandbox")
    return PushedSandbox(
        id=f.text("id"),
        digest=f.text("digest"),
        sent_bytes=f.whole("sent_bytes"),
        reused_bytes=f.whole("reused_bytes"),
    )


def process_info(value: object) -> ProcessInfo:
    f = Fields(value, "process")
    return ProcessInfo(
        id=f.text("id"),
        argv=tuple(f.texts("argv")),
        state=f.choice("state", _PROCESS_STATES),
        started_at=f.moment("started_at"),
        background=f.flag("background"),
        terminal=f.flag("terminal"),
        stdout_bytes=f.whole("stdout_bytes"),
        stderr_bytes=f.whole("stderr_bytes"),
        exit_code=f.maybe("exit_code", f.whole),
        signal=f.maybe("signal", f.text),
        timed_out=f.maybe("timed_out", f.flag) or False,
    )


def file_info(value: object) -> FileInfo:
    f = Fields(value, "file")
    return FileInfo(
        name=f.text("name"),
        path=f.text("path"),
        type=f.choice("type", _FILE_TYPES),
        mode=f.text("mode"),
        uid=f.whole("uid"),
        gid=f.whole("gid"),
        size_bytes=f.whole("size_bytes"),
        modified_at=f.moment("modified_at"),
        target=f.maybe("target", f.text),
    )


def watch_event(value: object) -> WatchEvent:
    f = Fields(value, "change")
    return WatchEvent(type=f.choice("type", _CHANGES), path=f.text("path"), to=f.maybe("to", f.text))


def template(value: object) -> Template:
    f = Fields(value, "template")
    return Template(
        name=f.text("name"),
        source=f.choice("source", _SOURCES),
        built=f.flag("built"),
        hash=f.maybe("hash", f.text),
        vcpu=f.maybe("vcpu", f.whole),
        memory_mib=f.maybe("memory_mib", f.whole),
        problem=f.maybe("problem", f.text),
        spec=f.maybe("spec", f.anything),
    )


def disk_usage(value: object) -> DiskUsage:
    f = Fields(value, "disk")
    return DiskUsage(
        total_bytes=f.whole("total_bytes"),
        shared_bytes=f.whole("shared_bytes"),
        free_bytes=f.whole("free_bytes"),
        entries=tuple(f.each("entries", _disk_entry)),
    )


def _disk_entry(value: object) -> DiskEntry:
    f = Fields(value, "entry")
    return DiskEntry(
        kind=f.choice("kind", _DISK_KINDS),
        name=f.text("name"),
        own_bytes=f.whole("own_bytes"),
        shared_bytes=f.whole("shared_bytes"),
    )


def collected(value: object) -> Collected:
    f = Fields(value, "collected")
    return Collected(
        dry_run=f.flag("dry_run"),
        removed=tuple(f.each("removed", _collected_part)),
        removed_bytes=f.whole("removed_bytes"),
        kept=tuple(f.each("kept", _collected_part)),
        skipped=tuple(f.texts("skipped")),
    )


def _collected_part(value: object) -> CollectedPart:
    f = Fields(value, "part")
    return CollectedPart(
        kind=f.choice("kind", _PART_KINDS),
        name=f.text("name"),
        reason=f.text("reason"),
        bytes=f.whole("bytes"),
    )


def build(value: object) -> Build:
    f = Fields(value, "build")
    return Build(
        id=f.text("id"),
        template=f.text("template"),
        state=f.choice("state", _BUILD_STATES),
        created_at=f.moment("created_at"),
        finished_at=f.maybe("finished_at", f.moment),
        error=f.maybe("error", lambda name: f.of(name, _error_info)),
        queue_position=f.maybe("queue_position", f.whole),
    )


def _error_info(value: object) -> ErrorInfo:
    f = Fields(value, "error")
    return ErrorInfo(
        code=f.text("code"),
        message=f.text("message"),
        hint=f.maybe("hint", f.text),
        details=f.maybe("details", f.anything),
    )


def build_event(value: object) -> BuildEvent | None:
    """None for an event of a kind that is not known here."""
    f = Fields(value, "build event")
    kind = f.text("type")
    if kind == "stage":
        status = f.choice("status", _STAGE_STATUSES)
        return BuildStage(stage=f.text("stage"), status=status, elapsed_ms=f.maybe("elapsed_ms", f.number))
    if kind == "message":
        text = f.text("message")
        return BuildMessage(stage=f.text("stage"), message=text, fraction=f.maybe("fraction", f.number))
    if kind == "end":
        return BuildEnd(build=f.of("build", build))
    return None


def health(value: object) -> Health:
    f = Fields(value, "health")
    return Health(
        status=f.choice("status", _WELL),
        version=f.text("version"),
        pid=f.whole("pid"),
        uptime_s=f.number("uptime_s"),
    )


def info(value: object) -> Info:
    f = Fields(value, "info")
    return Info(
        version=f.text("version"),
        api_version=f.whole("api_version"),
        home=f.text("home"),
        limits=f.of("limits", _limits),
        usage=f.of("usage", _usage),
        engine=f.maybe("engine", f.text),
        accelerator=f.maybe("accelerator", f.text),
    )


def _limits(value: object) -> Limits:
    f = Fields(value, "info.limits")
    return Limits(
        max_sandboxes=f.whole("max_sandboxes"),
        max_memory_mib=f.whole("max_memory_mib"),
        min_free_disk_mib=f.whole("min_free_disk_mib"),
    )


def _usage(value: object) -> Usage:
    f = Fields(value, "info.usage")
    return Usage(
        sandboxes=f.whole("sandboxes"),
        memory_mib=f.whole("memory_mib"),
        free_disk_mib=f.whole("free_disk_mib"),
    )
