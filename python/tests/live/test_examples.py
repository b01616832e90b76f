"""The examples against a real daemon with real sandboxes, and its own description of itself against the types here.

They run with KILN_TEST_LIVE=1, on the daemon that KILN_URL or KILN_HOME names; one that does not run is started.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import kiln
from kiln import Client

ROOT = Path(__file__).parents[3]
MANY_MINUTES_S = 1800
"""The first sandbox of a template has it built."""

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        os.environ.get("KILN_TEST_LIVE") != "1", reason="it needs a daemon and VMs: KILN_TEST_LIVE=1 runs it"
    ),
]


def run(example: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "python/src")}
    command = [sys.executable, str(ROOT / "examples/python" / example)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=MANY_MINUTES_S, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    return done.stdout


def test_quickstart() -> None:
    assert run("quickstart.py") == "42 exit code 0\n"


def test_every_call() -> None:
    assert run("every_call.py").endswith("every call works\n")


NAMES = {
    "Sandbox": kiln.SandboxInfo,
    "Process": kiln.ProcessInfo,
    "FileInfo": kiln.FileInfo,
    "Template": kiln.Template,
    "Build": kiln.Build,
    "Stats": kiln.Stats,
    "Info": kiln.Info,
    "Error": kiln.ErrorInfo,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_types_are_those_of_the_daemon(name: str) -> None:
    with Client() as client:
        schemas: dict[str, Any] = client.openapi()["components"]["schemas"]
    schema = schemas.get(name) or schemas[f"{name}Output"]
    fields = {field.name: field for field in dataclasses.fields(NAMES[name])}
    assert set(fields) == set(schema["properties"])
    for field in fields.values():
        has_default = field.default is not dataclasses.MISSING
        assert not (has_default and field.name in schema["required"]) or field.name == "max_processes", field.name
        assert has_default or field.name in schema["required"], field.name


def test_a_process_that_is_killed_leaves_no_sandbox() -> None:
    script = """
import os, signal
from kiln import Client
client = Client()
with client.sandbox(image="python") as sandbox:
    print(sandbox.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "python/src")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=MANY_MINUTES_S, check=False)
    sandbox_id = done.stdout.strip()
    assert sandbox_id, done.stderr
    with Client() as client:
        for _ in range(300):  # It goes within moments, and nobody is left to be told.
            if sandbox_id not in [sandbox.id for sandbox in client.list()]:
                return
            time.sleep(0.1)
    pytest.fail("the sandbox is still there")
