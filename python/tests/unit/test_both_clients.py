"""Both clients have the same calls with the same options, and the example uses every one of them."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import kiln

PAIRS = [
    (kiln.Client, kiln.AsyncClient),
    (kiln.Sandbox, kiln.AsyncSandbox),
    (kiln.Process, kiln.AsyncProcess),
    (kiln.OutputReader, kiln.AsyncOutputReader),
    (kiln.Files, kiln.AsyncFiles),
    (kiln.ByteStream, kiln.AsyncByteStream),
    (kiln.Watch, kiln.AsyncWatch),
    (kiln.PortResponse, kiln.AsyncPortResponse),
    (kiln.PortForward, kiln.AsyncPortForward),
    (kiln.Templates, kiln.AsyncTemplates),
    (kiln.Builds, kiln.AsyncBuilds),
    (kiln.Disk, kiln.AsyncDisk),
]
EXAMPLE = Path(__file__).parents[3] / "examples/python/every_call.py"
OWN_USE = {"begin", "open", "wait_until_held"}
"""Not for users; their docstrings say so."""


def public(kind: type) -> dict[str, object]:
    members = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
    return {name: member for name, member in members.items() if name not in OWN_USE}


def plain(annotation: object) -> str:
    """An annotation as it would be of the client for threads."""
    return re.sub(r"\bAsync", "", re.sub(r"^Opening\[(.*)\]$", r"\1", str(annotation)))


@pytest.mark.parametrize(("blocking", "other"), PAIRS)
def test_the_calls_are_the_same(blocking: type, other: type) -> None:
    assert {name.replace("aclose", "close") for name in public(other)} == set(public(blocking))
    for name, member in public(blocking).items():
        if not inspect.isfunction(member):
            continue
        one = inspect.signature(member)
        two = inspect.signature(getattr(other, "aclose" if name == "close" else name))
        assert list(one.parameters) == list(two.parameters), name
        for parameter in one.parameters.values():
            counterpart = two.parameters[parameter.name]
            assert (parameter.kind, parameter.default) == (counterpart.kind, counterpart.default), name
            assert plain(counterpart.annotation) == plain(parameter.annotation), f"{name}: {parameter.name}"
        if name != "connect":  # A socket here, a stream of AnyIO there.
            assert plain(two.return_annotation) == plain(one.return_annotation), name


@pytest.mark.parametrize("kind", [kind for pair in PAIRS for kind in pair])
def test_every_call_says_what_it_does(kind: type) -> None:
    assert inspect.getdoc(kind)
    for name, member in public(kind).items():
        if inspect.isfunction(member) or isinstance(member, property):
            assert inspect.getdoc(member), name


def test_everything_is_exported() -> None:
    for name in kiln.__all__:
        assert hasattr(kiln, name), name
    assert len(set(kiln.__all__)) == len(kiln.__all__)
    for name, value in vars(kiln.types).items():
        if inspect.isclass(value) and value.__module__ == "kiln.types":
            assert name in kiln.__all__


def test_the_version_is_that_of_the_package() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{kiln.__version__}"' in project


def test_the_example_uses_every_call() -> None:
    if not EXAMPLE.exists():
        pytest.skip("this is no checkout: the examples are not here")
    tree = ast.parse(EXAMPLE.read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for pair in PAIRS:
        for kind in pair:
            assert set(public(kind)) - used == set(), kind.__name__
