"""A daemon's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from .._daemon.endpoint import resolve_endpoint
from .._wire.calls import sandboxes, service
from .._wire.creation import Creation
from .._wire.deadline import Deadline
from .._wire.http import MAX_WHOLE_BYTES
from ..errors import ConnectionLostError
from .builds import Builds
from .disk import Disk
from .sandbox import Sandbox
from .templates import Templates
from .transport import Transport

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from .._wire.request import Call
    from ..types import Build, BuildEvent, EngineChoice, Health, Info, Network, OnTimeout, SandboxInfo, SandboxState


class Client:
    """A daemon's client, for use from any thread. AsyncClient is the same for event loops.

    Without options it is this machine's own daemon, which is started when it does not run, or the one that ``KILN_URL``
    and ``KILN_TOKEN`` name.

        client = Client()
        with client.sandbox(image="claude-code", memory_mib=2048) as sandbox:
            result = sandbox.exec(["claude", "--print", "Explain this codebase"])
            print(result.stdout, result.stderr, result.exit_code)
    """

    templates: Templates
    builds: Builds
    disk: Disk

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        home: str | os.PathLike[str] | None = None,
        autostart: bool = True,
        command: Sequence[str] | None = None,
    ) -> None:
        """
        url: ``http://HOST:PORT``, ``https://...`` or ``unix:/PATH``; $KILN_URL, else the local daemon's socket when
            None.
        token: needed over TCP; $KILN_TOKEN when None.
        home: folder of the local daemon; $KILN_HOME, else $XDG_DATA_HOME/kiln, else ~/.local/share/kiln when None.
        autostart: whether to start the local daemon when it does not run.
        command: the ``kiln`` to start it with, and its first arguments; $KILN_BIN, else kiln on the PATH when None.
        """
        self._transport = Transport(resolve_endpoint(url, token, home), autostart=autostart, command=command)
        self.templates = Templates(self._transport)
        self.builds = Builds(self._transport)
        self.disk = Disk(self._transport)

    def sandbox(
        self,
        image: str,
        *,
        vcpu: int | None = None,
        memory_mib: int | None = None,
        engine: EngineChoice | None = None,
        env: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_timeout: OnTimeout | None = None,
        network: Network | None = None,
        max_disk_mib: int | None = None,
        max_processes: int | None = None,
        held: bool = True,
        on_progress: Callable[[BuildEvent], None] | None = None,
        request_timeout: float | None = None,
    ) -> Sandbox:
        """Creates a sandbox. A call that is given up leaves none.

        image: name of a template. One that is not built yet is built first.
        engine: what runs it; None means ``"auto"``, the best that works on the host.
        env: variables of every program that is started in it.
        timeout: seconds it lives; None for ever.
        on_timeout: what happens then: ``"kill"``, which is meant when None, or ``"pause"``.
        network: ``"full"``, which is meant when None, ``"none"``, or ``{"allow": ["example.com", "*.example.com",
            "10.1.2.3:5432"]}``.
        max_disk_mib: room on the host that what it writes may take.
        max_processes: processes and threads it may have at once.
        held: whether it ends with this process, however that ends. One that is not held lives until it is killed:
            ``Client.get`` finds it.
        on_progress: told of the build, where the template has to be built first.
        request_timeout: seconds the creation may take, a build included; None for no limit.

        Raises TemplateNotFoundError, BuildFailedError, LimitReachedError, CapacityError and others.
        """
        call = sandboxes.create(
            image=image,
            vcpu=vcpu,
            memory_mib=memory_mib,
            engine=engine,
            env=env,
            metadata=metadata,
            timeout=timeout,
            on_timeout=on_timeout,
            network=network,
            max_disk_mib=max_disk_mib,
            max_processes=max_processes,
            held=held,
        )
        deadline = Deadline(request_timeout)
        if on_progress is None:
            info = self._transport.call(call, deadline=deadline)
        else:
            info = self._create_with_progress(call, on_progress, deadline)
        sandbox = Sandbox(self._transport, info, owned=True)
        sandbox.wait_until_held(deadline)
        return sandbox

    def get(self, sandbox_id: str, *, request_timeout: float | None = None) -> Sandbox:
        """A sandbox by its id, or a beginning that means one.

        Raises SandboxNotFoundError; ConflictError when it means several.
        """
        info = self._transport.call(sandboxes.get(sandbox_id), deadline=Deadline(request_timeout))
        return Sandbox(self._transport, info, owned=False)

    def pull_sandbox(self, sandbox_id: str, *, request_timeout: float | None = None) -> Sandbox:
        """Takes a sandbox that some node has handed over (``sandbox.push``) out of the store. It is paused, and this
        daemon's alone. sandbox_id: the whole of it.

        Raises SandboxNotFoundError; ConflictError when another node was first.
        """
        info = self._transport.call(sandboxes.pull(sandbox_id), deadline=Deadline(request_timeout))
        return Sandbox(self._transport, info, owned=False)

    def list(
        self,
        *,
        state: SandboxState | Sequence[SandboxState] | None = None,
        image: str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int | None = None,
        request_timeout: float | None = None,
    ) -> Iterator[Sandbox]:
        """Sandboxes, oldest first.

        state: one, or several.
        metadata: only those with all of these entries.
        page_size: sandboxes asked for at once, 1 to 1000; 100 when None.
        request_timeout: seconds each page may take.

            for sandbox in client.list(state="running", metadata={"job": "42"}):
                sandbox.kill()
        """
        cursor: str | None = None
        while True:
            call = sandboxes.page(state, image, metadata, page_size, cursor)
            infos, cursor = self._transport.call(call, deadline=Deadline(request_timeout))
            for info in infos:
                yield Sandbox(self._transport, info, owned=False)
            if cursor is None:
                return

    def build(
        self,
        template: str | Mapping[str, Any],
        *,
        vcpu: int | None = None,
        memory_mib: int | None = None,
        engine: EngineChoice | None = None,
        step_timeout: int | None = None,
        on_progress: Callable[[BuildEvent], None] | None = None,
        request_timeout: float | None = None,
    ) -> Build:
        """Builds a template, and returns when it is done. When the call is given up the build goes on:
        ``builds.cancel`` ends it.

        template: name of a template, or a TemplateSpec (docs/templates.md), which is then known by its name.
        step_timeout: seconds one step may take, when not as the daemon's configuration says.

        Raises what made it fail: SpecInvalidError, BuildFailedError and others.
        """
        deadline = Deadline(request_timeout)
        build = self.builds.start(
            template,
            vcpu=vcpu,
            memory_mib=memory_mib,
            engine=engine,
            step_timeout=step_timeout,
            request_timeout=deadline.remaining,
        )
        return self.builds.wait(build.id, on_progress=on_progress, request_timeout=deadline.remaining)

    def info(self, *, request_timeout: float | None = None) -> Info:
        """Version, engine, limits, and how much of them is used."""
        return self._transport.call(service.info(), deadline=Deadline(request_timeout))

    def health(self, *, request_timeout: float | None = None) -> Health:
        """Whether the daemon is well; starts it where that is needed."""
        return self._transport.call(service.health(), deadline=Deadline(request_timeout))

    def metrics(self, *, request_timeout: float | None = None) -> str:
        """Metrics in Prometheus' text format."""
        deadline = Deadline(request_timeout)
        return self._transport.send(service.metrics(), deadline=deadline).read(MAX_WHOLE_BYTES, deadline).decode()

    def openapi(self, *, request_timeout: float | None = None) -> Any:
        """The daemon's API as OpenAPI 3.1."""
        return self._transport.call(service.openapi(), deadline=Deadline(request_timeout))

    def close(self) -> None:
        """Closes its connections. Sandboxes that it holds end with them; all others stay."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._transport.endpoint}>"

    def _create_with_progress(
        self, call: Call[SandboxInfo], on_progress: Callable[[BuildEvent], None], deadline: Deadline
    ) -> SandboxInfo:
        request = sandboxes.told_of_progress(call.request)
        creation = Creation(request)
        try:
            with self._transport.send(request, deadline=deadline) as answer:
                answer.bound(deadline)
                for chunk in answer:
                    for event in creation.feed(chunk):
                        on_progress(event)
                    if creation.sandbox is not None:
                        break
                    deadline.check(request.name)
        except ConnectionLostError:
            deadline.check(request.name)
            raise
        return creation.result()
