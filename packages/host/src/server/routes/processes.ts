import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import { KilnError } from "../../errors.ts";
import type { GuestAgent } from "../../guest/agent.ts";
import type { App } from "../app-type.ts";
import type { DaemonContext } from "../context.ts";
import { execToEnd, newProcessId, toExecOptions } from "../exec.ts";
import { type Follower, sendOutput } from "../output-stream.ts";
import { toProcess } from "../process-info.ts";
import { requestSignal } from "../request-signal.ts";
import { errors, OUTPUT_STREAM, raw } from "../responses.ts";
import { NoContent, SandboxIdParam } from "../schemas/common.ts";
import {
  Exec,
  ExecResult,
  OutputQuery,
  Process,
  ProcessList,
  ProcessParams,
  Resize,
  Signal,
  StartProcess,
  StartQuery,
  StdinQuery,
} from "../schemas/process.ts";

async function findProcess(agent: GuestAgent, id: string) {
  const found = (await agent.list()).find((process) => process.id === id);
  if (found) return found;
  throw new KilnError("PROCESS_NOT_FOUND", `there is no process "${id}" in this sandbox`, {
    hint: "those that ended long ago are forgotten",
  });
}

/** Takes the answer out of the framework's hands. */
function answer(reply: FastifyReply): Follower {
  reply.hijack();
  const stream = reply.raw;
  if (!stream.destroyed) stream.writeHead(200, { "content-type": OUTPUT_STREAM });
  return { stream, end: (frame) => void stream.end(frame) };
}

export function addProcessRoutes(app: App, { sandboxes, metrics, closing }: DaemonContext): void {
  const tags = ["processes"];
  const agentOf = (id: string) => sandboxes.get(id).agent;

  app.post(
    "/v1/sandboxes/:id/exec",
    {
      schema: {
        tags,
        summary: "Run a program to its end",
        params: SandboxIdParam,
        body: Exec,
        response: { 200: ExecResult, ...errors },
      },
    },
    async (request, reply) => {
      const started = performance.now();
      const sandbox = sandboxes.get(request.params.id);
      const signal = requestSignal(request, reply, closing);
      const result = await execToEnd(sandbox.agent, request.body, sandbox.record.env, signal);
      metrics.execSeconds.observe((performance.now() - started) / 1000);
      return result;
    },
  );

  app.post(
    "/v1/sandboxes/:id/processes",
    {
      schema: {
        tags,
        summary: "Start a program",
        description: "With attach=true the answer is its output as a stream; see docs/api.md for the frames.",
        params: SandboxIdParam,
        querystring: StartQuery,
        body: StartProcess,
        response: { 200: raw(OUTPUT_STREAM, "frames"), 201: Process, ...errors },
      },
    },
    async (request, reply) => {
      const sandbox = sandboxes.get(request.params.id);
      const { body } = request;
      const { agent } = sandbox;
      const id = newProcessId();
      const process = agent.start({
        ...toExecOptions(body, sandbox.record.env),
        id,
        stdin: body.stdin,
        ...(body.terminal === undefined ? {} : { terminal: body.terminal }),
        bufferBytes: body.buffer_bytes,
        whenFull: body.background ? "drop-oldest" : "wait",
      });
      const info = await process.started;
      if (!request.query.attach) {
        await process.detach();
        return reply.code(201).send(toProcess(info));
      }
      void sendOutput(answer(reply), process, () => findProcess(agent, id)).then((last) => {
        // The client went away: what it started goes with it, unless it is to stay or the daemon itself ends.
        const ended = last?.exit !== undefined;
        if (!ended && !body.background && !closing.aborted) void agent.forget(id).catch(() => undefined);
      });
      return reply;
    },
  );

  app.get(
    "/v1/sandboxes/:id/processes",
    {
      schema: {
        tags,
        summary: "Processes that run, and the last that ended",
        params: SandboxIdParam,
        response: { 200: ProcessList, ...errors },
      },
    },
    async ({ params }) => ({ processes: (await agentOf(params.id).list()).map(toProcess) }),
  );

  const params = ProcessParams;
  app.get(
    "/v1/sandboxes/:id/processes/:process",
    { schema: { tags, summary: "A process", params, response: { 200: Process, ...errors } } },
    async (request) => toProcess(await findProcess(agentOf(request.params.id), request.params.process)),
  );

  app.get(
    "/v1/sandboxes/:id/processes/:process/output",
    {
      schema: {
        tags,
        summary: "A process's output from the given offsets on, as a stream",
        params,
        querystring: OutputQuery,
        response: { 200: raw(OUTPUT_STREAM, "frames"), ...errors },
      },
    },
    async (request, reply) => {
      const { stdout = 0, stderr = 0, follow = true } = request.query;
      const agent = agentOf(request.params.id);
      const id = request.params.process;
      const process = agent.attach(id, { stdoutOffset: stdout, stderrOffset: stderr, follow });
      await process.started;
      void sendOutput(answer(reply), process, () => findProcess(agent, id));
      return reply;
    },
  );

  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
    (scope as unknown as App).post(
      "/v1/sandboxes/:id/processes/:process/stdin",
      {
        schema: {
          tags,
          summary: "Write standard input; the body is what is written",
          params,
          querystring: StdinQuery,
          response: { 204: NoContent, ...errors },
        },
      },
      async (request, reply) => {
        const agent = agentOf(request.params.id);
        const body = request.body instanceof Readable ? request.body : Readable.from([]);
        await agent.writeStdin(request.params.process, body, { end: request.query.end ?? false });
        return reply.code(204).send();
      },
    );
  });

  app.post(
    "/v1/sandboxes/:id/processes/:process/signal",
    {
      schema: {
        tags,
        summary: "Signal a process and all it started",
        params,
        body: Signal,
        response: { 204: NoContent, ...errors },
      },
    },
    async (request, reply) => {
      await agentOf(request.params.id).signal(request.params.process, request.body.signal);
      return reply.code(204).send();
    },
  );

  app.post(
    "/v1/sandboxes/:id/processes/:process/resize",
    {
      schema: {
        tags,
        summary: "Resize its terminal",
        params,
        body: Resize,
        response: { 204: NoContent, ...errors },
      },
    },
    async (request, reply) => {
      await agentOf(request.params.id).resize(request.params.process, request.body);
      return reply.code(204).send();
    },
  );

  app.delete(
    "/v1/sandboxes/:id/processes/:process",
    {
      schema: {
        tags,
        summary: "Kill a process and forget it",
        params,
        response: { 204: NoContent, ...errors },
      },
    },
    async (request, reply) => {
      await agentOf(request.params.id).forget(request.params.process);
      return reply.code(204).send();
    },
  );
}
