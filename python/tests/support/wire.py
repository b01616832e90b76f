"""What a daemon says."""

from __future__ import annotations

import json
from typing import Any

TIME = "2026-01-31T12:00:00.000Z"


def sandbox(**changes: Any) -> dict[str, Any]:
    return {
        "id": "s1",
        "template": "python",
        "state": "running",
        "vcpu": 2,
        "memory_mib": 512,
        "disk_mib": 2048,
        "metadata": {},
        "network": "full",
        "max_processes": 16384,
        "created_at": TIME,
        "expires_at": None,
        "on_timeout": "kill",
        "engine": "qemu",
        "held": False,
        **changes,
    }


def process(**changes: Any) -> dict[str, Any]:
    return {
        "id": "p1",
        "argv": ["x"],
        "state": "running",
        "started_at": TIME,
        "background": False,
        "terminal": False,
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        **changes,
    }


def file(**changes: Any) -> dict[str, Any]:
    return {
        "name": "a",
        "path": "/a",
        "type": "file",
        "mode": "644",
        "uid": 0,
        "gid": 0,
        "size_bytes": 1,
        "modified_at": TIME,
        **changes,
    }


def build(**changes: Any) -> dict[str, Any]:
    return {"id": "b1", "template": "python", "state": "running", "created_at": TIME, **changes}


EXITED = process(state="exited", exit_code=7, timed_out=False)


def frame(channel: int, payload: bytes | dict[str, Any]) -> bytes:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return bytes([channel]) + len(content).to_bytes(4, "big") + content


STARTED = frame(0, {"type": "started", "process": process()})
EXIT = frame(0, {"type": "exit", "process": EXITED})
PING = frame(0, {"type": "ping"})


def dropped(channel: str, count: int) -> bytes:
    return frame(0, {"type": "dropped", "channel": channel, "bytes": count})


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "message": f"it is {code}", **more}
