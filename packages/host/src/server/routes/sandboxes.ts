import { Readable } from "node:stream";
import type { z } from "zod";
import { KilnError } from "../../errors.ts";
import { RemovedError } from "../../sandbox/holdings.ts";
import { checkSize } from "../../sandbox/limits.ts";
import type { ManagedSandbox } from "../../sandbox/managed-sandbox.ts";
import { missingParts } from "../../sandbox/missing-parts.ts";
import type { CreateOptions } from "../../sandbox/new-record.ts";
import type { App } from "../app-type.ts";
import type { DaemonContext } from "../context.ts";
import { errorBody, toKilnError } from "../errors.ts";
import { expectHolder, hold } from "../hold.ts";
import { requestSignal } from "../request-signal.ts";
import { errors, NDJSON, raw } from "../responses.ts";
import { NoContent, SandboxIdParam } from "../schemas/common.ts";
import {
  CreateSandbox,
  ForkSandbox,
  ListQuery,
  PushedSandbox,
  ResumeSandbox,
  Sandbox,
  SandboxList,
  SnapshotSandbox,
  Stats,
  toSandbox,
  UpdateSandbox,
} from "../schemas/sandbox.ts";
import { Template } from "../schemas/template.ts";
import { measure } from "../stats.ts";
import { describeSaved, launchableOf, refuseKnownName } from "../templates.ts";

const DEFAULT_PAGE = 100;
const milliseconds = (seconds: number | null) => (seconds === null ? null : Math.ceil(seconds * 1000));

export function addSandboxRoutes(app: App, context: DaemonContext): void {
  const { home, config, sandboxes, builds, metrics, closing } = context;
  const tags = ["sandboxes"];

  async function create(
    body: z.output<typeof CreateSandbox>,
    onBuild: (id: string) => void,
    signal: AbortSignal,
  ): Promise<ManagedSandbox> {
    const started = performance.now();
    const variant = { vcpu: body.vcpu, memoryMib: body.memory_mib, engine: body.engine };
    // Before a snapshot of that size is made.
    if (body.memory_mib !== undefined) checkSize(config.limits, body.memory_mib);
    let from = "snapshot";
    const options: CreateOptions = {
      env: body.env,
      metadata: body.metadata,
      timeoutMs: milliseconds(body.timeout_s),
      onTimeout: body.on_timeout,
      network: body.network,
      maxDiskMib: body.max_disk_mib,
      maxProcesses: body.max_processes,
      held: body.held,
    };
    const attempt = async () => {
      const launchable = await launchableOf(
        { home, builds },
        body.template,
        variant,
        (id) => {
          from = "build";
          onBuild(id);
        },
        signal,
      );
      return sandboxes.create(launchable, options, signal);
    };
    const sandbox = await untilFound(attempt);
    expectHolder(context, sandbox);
    metrics.createSeconds.observe({ template: body.template, from }, (performance.now() - started) / 1000);
    return sandbox;
  }

  /** The same, told line by line. */
  async function* createWithProgress(
    body: z.output<typeof CreateSandbox>,
    signal: AbortSignal,
  ): AsyncGenerator<string> {
    const build = Promise.withResolvers<string | undefined>();
    const created = create(body, build.resolve, signal);
    created.then(
      () => build.resolve(undefined),
      () => build.resolve(undefined),
    );
    try {
      const id = await build.promise;
      if (id !== undefined) yield* builds.events(id, signal);
      yield `${JSON.stringify({ type: "sandbox", sandbox: toSandbox((await created).record) })}\n`;
    } catch (error) {
      yield `${JSON.stringify({ type: "error", error: errorBody(toKilnError(error)) })}\n`;
    }
  }

  app.post(
    "/v1/sandboxes",
    {
      schema: {
        tags,
        summary: "Create a sandbox",
        body: CreateSandbox,
        response: {
          200: raw(NDJSON, "with Accept: application/x-ndjson: build events, then the sandbox or an error"),
          201: Sandbox,
          ...errors,
        },
      },
    },
    async (request, reply) => {
      const signal = requestSignal(request, reply, closing);
      if (request.headers.accept?.includes(NDJSON)) {
        const lines = createWithProgress(request.body, signal);
        return reply.type(NDJSON).send(Readable.from(lines, { objectMode: false }));
      }
      const sandbox = await create(request.body, () => undefined, signal);
      return reply.code(201).send(toSandbox(sandbox.record));
    },
  );

  app.get(
    "/v1/sandboxes",
    {
      schema: {
        tags,
        summary: "List sandboxes, oldest first",
        description: "metadata.KEY=VALUE filters by metadata; the cursor of a page is in the one before.",
        querystring: ListQuery,
        response: { 200: SandboxList, ...errors },
      },
    },
    async ({ query }) => {
      const missing = await missingParts(home);
      const { state, template, limit = DEFAULT_PAGE, cursor, ...rest } = query;
      const metadata = metadataFilter(rest);
      const matching = sandboxes
        .list()
        .map(({ record }) => record)
        .filter((record) => cursor === undefined || `${record.createdAt}.${record.id}` > cursor)
        .filter((record) => state === undefined || state.includes(record.state))
        .filter((record) => template === undefined || record.template === template)
        .filter((record) => metadata.every(([key, value]) => record.metadata[key] === value));
      const page = matching.slice(0, limit);
      const last = page.at(-1);
      return {
        sandboxes: page.map((record) => toSandbox(record, missing(record))),
        ...(last && matching.length > page.length ? { next_cursor: `${last.createdAt}.${last.id}` } : {}),
      };
    },
  );

  const params = SandboxIdParam;
  app.get(
    "/v1/sandboxes/:id",
    { schema: { tags, summary: "A sandbox", params, response: { 200: Sandbox, ...errors } } },
    async (request) => {
      const { record } = sandboxes.get(request.params.id);
      return toSandbox(record, (await missingParts(home))(record));
    },
  );

  app.patch(
    "/v1/sandboxes/:id",
    {
      schema: {
        tags,
        summary: "Change a sandbox's timeout or metadata",
        params,
        body: UpdateSandbox,
        response: { 200: Sandbox, ...errors },
      },
    },
    async (request) => {
      const { timeout_s, on_timeout, metadata } = request.body;
      const sandbox = sandboxes.get(request.params.id);
      const ms = timeout_s === undefined ? undefined : milliseconds(timeout_s);
      await sandbox.update({
        ...(ms === undefined
          ? {}
          : { expiresAt: ms === null ? null : new Date(Date.now() + ms).toISOString() }),
        ...(on_timeout === undefined ? {} : { onTimeout: on_timeout }),
        ...(metadata === undefined ? {} : { metadata }),
      });
      return toSandbox(sandbox.record);
    },
  );

  app.delete(
    "/v1/sandboxes/:id",
    {
      schema: {
        tags,
        summary: "Kill a sandbox and forget it",
        params,
        response: { 204: NoContent, ...errors },
      },
    },
    async (request, reply) => {
      await sandboxes.kill(sandboxes.get(request.params.id));
      return reply.code(204).send();
    },
  );

  app.post(
    "/v1/sandboxes/:id/pause",
    {
      schema: {
        tags,
        summary: "Memory and disk to files, VM gone",
        params,
        response: { 200: Sandbox, ...errors },
      },
    },
    async (request) => {
      const sandbox = sandboxes.get(request.params.id);
      await sandbox.pause();
      return toSandbox(sandbox.record);
    },
  );

  app.post(
    "/v1/sandboxes/:id/resume",
    {
      schema: {
        tags,
        summary: "Go on from where it was paused",
        params,
        body: ResumeSandbox.nullish(),
        response: { 200: Sandbox, ...errors },
      },
    },
    async (request) => {
      const sandbox = sandboxes.get(request.params.id);
      const seconds = request.body?.timeout_s;
      await sandboxes.resume(sandbox, seconds === undefined ? undefined : milliseconds(seconds));
      return toSandbox(sandbox.record);
    },
  );

  app.post(
    "/v1/sandboxes/:id/push",
    {
      schema: {
        tags,
        summary: "Hand a paused sandbox over to the store, for any node to go on with",
        params,
        response: { 200: PushedSandbox, ...errors },
      },
    },
    async (request, reply) => {
      const signal = requestSignal(request, reply, closing);
      const { id, digest, sent, reused } = await sandboxes.push(sandboxes.get(request.params.id), signal);
      return { id, digest: `sha256:${digest}`, sent_bytes: sent, reused_bytes: reused };
    },
  );

  app.post(
    "/v1/sandboxes/:id/pull",
    {
      schema: {
        tags,
        summary: "Take a paused sandbox out of the store; it is this node's then",
        params,
        response: { 200: Sandbox, ...errors },
      },
    },
    async (request, reply) => {
      const signal = requestSignal(request, reply, closing);
      return toSandbox((await sandboxes.pull(request.params.id, signal)).record);
    },
  );

  app.post(
    "/v1/sandboxes/:id/fork",
    {
      schema: {
        tags,
        summary: "Running copies of a running sandbox",
        params,
        body: ForkSandbox.nullish(),
        response: { 201: SandboxList, ...errors },
      },
    },
    async (request, reply) => {
      const parent = sandboxes.get(request.params.id);
      const signal = requestSignal(request, reply, closing);
      const children = await sandboxes.fork(parent, request.body?.count ?? 1, signal);
      return reply.code(201).send({ sandboxes: children.map(({ record }) => toSandbox(record)) });
    },
  );

  app.post(
    "/v1/sandboxes/:id/snapshot",
    {
      schema: {
        tags,
        summary: "Make a template of a running sandbox",
        params,
        body: SnapshotSandbox,
        response: { 201: Template, ...errors },
      },
    },
    async (request, reply) => {
      const sandbox = sandboxes.get(request.params.id);
      await refuseKnownName(home, request.body.name);
      const template = await sandboxes.snapshot(sandbox, request.body.name);
      return reply.code(201).send(describeSaved(template));
    },
  );

  app.get(
    "/v1/sandboxes/:id/stats",
    { schema: { tags, summary: "What a sandbox uses now", params, response: { 200: Stats, ...errors } } },
    (request) => measure(sandboxes.get(request.params.id)),
  );

  app.get(
    "/v1/sandboxes/:id/hold",
    {
      schema: {
        tags,
        summary: "Stay open as long as the sandbox lives; a held sandbox ends with its last holder",
        params,
        response: { 200: raw(NDJSON, "the sandbox, at first and after each change"), ...errors },
      },
    },
    async (request, reply) => {
      const sandbox = sandboxes.get(request.params.id);
      const lines = hold(context, sandbox, requestSignal(request, reply, closing));
      return reply.type(NDJSON).send(Readable.from(lines, { objectMode: false }));
    },
  );
}

/** Times that what a sandbox starts from may be removed between its being found and the sandbox being listed. */
const MAX_REMOVALS = 3;

/** Tries again when `attempt` fails because what it found was removed meanwhile. */
async function untilFound<T>(attempt: () => Promise<T>): Promise<T> {
  for (let removals = 0; ; removals++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof RemovedError) || removals >= MAX_REMOVALS) throw error;
    }
  }
}

/** Filters `metadata.KEY=VALUE` of a query. @throws KilnError `USAGE` for anything else. */
function metadataFilter(query: Record<string, unknown>): [string, string][] {
  return Object.entries(query).map(([name, value]) => {
    const key = /^metadata\.(.{1,64})$/su.exec(name)?.[1];
    if (key === undefined || typeof value !== "string") {
      throw new KilnError("USAGE", `querystring.${name.slice(0, 80)}: is not a filter`, {
        hint: "state, template, metadata.KEY, limit and cursor are",
      });
    }
    return [key, value];
  });
}
