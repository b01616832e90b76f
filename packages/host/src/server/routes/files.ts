import { posix } from "node:path";
import { Readable } from "node:stream";
import type { z } from "zod";
import type { FileInfo as GuestFileInfo } from "../../guest/files.ts";
import type { ManagedSandbox } from "../../sandbox/managed-sandbox.ts";
import type { App } from "../app-type.ts";
import type { DaemonContext } from "../context.ts";
import { requestSignal } from "../request-signal.ts";
import { BYTES, errors, NDJSON, raw, TAR } from "../responses.ts";
import { NoContent, SandboxIdParam } from "../schemas/common.ts";
import {
  FileInfo,
  FileList,
  MakeDirectory,
  PathQuery,
  ReadQuery,
  RecursiveQuery,
  Rename,
  StatQuery,
  WriteQuery,
} from "../schemas/file.ts";
import { packDirectory, unpackDirectory } from "../tar.ts";

const octal = (mode: string | undefined) => (mode === undefined ? {} : { mode: Number.parseInt(mode, 8) });

function toFileInfo(info: GuestFileInfo, path: string): z.infer<typeof FileInfo> {
  return {
    name: info.name,
    path,
    type: info.type,
    mode: info.mode.toString(8).padStart(3, "0"),
    uid: info.uid,
    gid: info.gid,
    size_bytes: info.size,
    modified_at: info.modified.toISOString(),
    ...(info.target === undefined ? {} : { target: info.target }),
  };
}

/** A body of bytes as it arrives; the request's own stream. */
async function* bytesOf(body: unknown): AsyncGenerator<Uint8Array> {
  if (body instanceof Readable) for await (const chunk of body) yield chunk as Buffer;
}

export function addFileRoutes(app: App, { sandboxes, closing }: DaemonContext): void {
  const tags = ["files"];
  const params = SandboxIdParam;
  const files = (id: string) => sandboxes.get(id).agent.files;

  app.get(
    "/v1/sandboxes/:id/files",
    {
      schema: {
        tags,
        summary: "Read a file",
        params,
        querystring: ReadQuery,
        response: { 200: raw(BYTES, "the file's bytes"), ...errors },
      },
    },
    async ({ params, query }, reply) => {
      const chunks = files(params.id).read(query.path, {
        offset: query.offset ?? 0,
        length: query.length ?? 0,
      });
      // The first chunk tells whether the file can be read at all: after it, the status is sent.
      const first = await chunks.next();
      return reply.type(BYTES).send(Readable.from(prepend(first, chunks), { objectMode: false }));
    },
  );

  // Bodies that go into the guest are passed on as they come, whatever they call themselves.
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
    addUploads(scope as unknown as App, (id) => sandboxes.get(id));
  });

  app.get(
    "/v1/sandboxes/:id/files/stat",
    {
      schema: {
        tags,
        summary: "What is known of a file",
        params,
        querystring: StatQuery,
        response: { 200: FileInfo, ...errors },
      },
    },
    async ({ params, query }) =>
      toFileInfo(await files(params.id).stat(query.path, { follow: query.follow ?? true }), query.path),
  );

  app.get(
    "/v1/sandboxes/:id/files/list",
    {
      schema: {
        tags,
        summary: "What is in a directory, by name",
        params,
        querystring: PathQuery,
        response: { 200: FileList, ...errors },
      },
    },
    async ({ params, query }) => {
      const entries: z.infer<typeof FileInfo>[] = [];
      for await (const info of files(params.id).list(query.path)) {
        entries.push(toFileInfo(info, posix.join(query.path, info.name)));
      }
      return { entries: entries.sort((a, b) => (a.name < b.name ? -1 : 1)) };
    },
  );

  app.post(
    "/v1/sandboxes/:id/files/mkdir",
    {
      schema: {
        tags,
        summary: "Make a directory",
        params,
        body: MakeDirectory,
        response: { 204: NoContent, ...errors },
      },
    },
    async ({ params, body }, reply) => {
      await files(params.id).makeDirectory(body.path, {
        ...octal(body.mode),
        parents: body.parents,
        ...(body.user === undefined ? {} : { user: body.user }),
      });
      return reply.code(204).send();
    },
  );

  app.post(
    "/v1/sandboxes/:id/files/rename",
    {
      schema: {
        tags,
        summary: "Rename a file",
        params,
        body: Rename,
        response: { 204: NoContent, ...errors },
      },
    },
    async ({ params, body }, reply) => {
      await files(params.id).rename(body.from, body.to);
      return reply.code(204).send();
    },
  );

  app.delete(
    "/v1/sandboxes/:id/files",
    {
      schema: {
        tags,
        summary: "Remove a file, or a directory with all it holds",
        params,
        querystring: RecursiveQuery,
        response: { 204: NoContent, ...errors },
      },
    },
    async ({ params, query }, reply) => {
      await files(params.id).remove(query.path, { recursive: query.recursive ?? false });
      return reply.code(204).send();
    },
  );

  app.get(
    "/v1/sandboxes/:id/files/watch",
    {
      schema: {
        tags,
        summary: "Be told of changes",
        params,
        querystring: RecursiveQuery,
        response: { 200: raw(NDJSON, "events, one a line"), ...errors },
      },
    },
    async (request, reply) => {
      const { path, recursive = false } = request.query;
      const signal = requestSignal(request, reply, closing);
      const events = files(request.params.id).watch(path, { recursive, signal });
      const first = await events.next();
      return reply
        .type(NDJSON)
        .send(Readable.from(watchLines(prepend(first, events)), { objectMode: false }));
    },
  );

  app.get(
    "/v1/sandboxes/:id/files/tar",
    {
      schema: {
        tags,
        summary: "A directory as a tar stream",
        params,
        querystring: PathQuery,
        response: { 200: raw(TAR, "a tar stream"), ...errors },
      },
    },
    async ({ params, query }, reply) => {
      const chunks = packDirectory(sandboxes.get(params.id).agent, query.path);
      const first = await chunks.next();
      return reply.type(TAR).send(Readable.from(prepend(first, chunks), { objectMode: false }));
    },
  );
}

function addUploads(app: App, sandbox: (id: string) => ManagedSandbox): void {
  const tags = ["files"];
  const params = SandboxIdParam;
  app.put(
    "/v1/sandboxes/:id/files",
    {
      schema: {
        tags,
        summary: "Write a file; the body is its content",
        params,
        querystring: WriteQuery,
        response: { 200: FileInfo, ...errors },
      },
    },
    async ({ params, query, body }) => {
      const { path, mode, parents = false, user } = query;
      const { files } = sandbox(params.id).agent;
      await files.write(path, bytesOf(body), {
        ...octal(mode),
        parents,
        ...(user === undefined ? {} : { user }),
      });
      return toFileInfo(await files.stat(path), path);
    },
  );
  app.put(
    "/v1/sandboxes/:id/files/tar",
    {
      schema: {
        tags,
        summary: "Unpack a tar stream into a directory",
        params,
        querystring: PathQuery,
        response: { 204: NoContent, ...errors },
      },
    },
    async ({ params, query, body }, reply) => {
      await unpackDirectory(sandbox(params.id).agent, query.path, bytesOf(body));
      return reply.code(204).send();
    },
  );
}

/** What `rest` has after its `first` result was taken out already. Ending it early ends `rest`. */
export async function* prepend<T>(
  first: IteratorResult<T, void>,
  rest: AsyncGenerator<T>,
): AsyncGenerator<T> {
  try {
    if (first.done) return;
    yield first.value;
    yield* rest;
  } finally {
    await rest.return(undefined);
  }
}

async function* watchLines(events: AsyncGenerator<object>): AsyncGenerator<string> {
  for await (const event of events) yield `${JSON.stringify(event)}\n`;
}
