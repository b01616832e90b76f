import swagger from "@fastify/swagger";
import fastify, { LogController } from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { KilnError } from "../errors.ts";
import type { App } from "./app-type.ts";
import type { DaemonContext } from "./context.ts";
import { errorBody, statusOf, toKilnError } from "./errors.ts";
import { EXEC_PATH, serveExecConnection } from "./exec-connection.ts";
import { openapiOptions } from "./openapi.ts";
import { addBuildRoutes } from "./routes/builds.ts";
import { addDiskRoutes } from "./routes/disk.ts";
import { addFileRoutes } from "./routes/files.ts";
import { addPortRoutes, rewriteHost, upgradeToPort } from "./routes/ports.ts";
import { addProcessRoutes } from "./routes/processes.ts";
import { addSandboxRoutes } from "./routes/sandboxes.ts";
import { addSystemRoutes } from "./routes/system.ts";
import { addTemplateRoutes } from "./routes/templates.ts";
import { answerUpgrades } from "./upgrades.ts";

/** Largest JSON body. A spec or an exec's input is far smaller. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** Longest body that is read though it is not wanted. */
const MAX_UNWANTED_BYTES = 64 * 1024;
const MAX_PARAMETER_BYTES = 4096;

/** The daemon's HTTP API. `trusted`: whoever can reach it may use it; otherwise every request needs a token. */
export async function buildApp(context: DaemonContext, { trusted }: { trusted: boolean }): Promise<App> {
  const app: App = fastify({
    loggerInstance: context.log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: MAX_BODY_BYTES,
    routerOptions: { maxParamLength: MAX_PARAMETER_BYTES },
    // Streams and execs last as long as they last; a client has to send its headers in time.
    requestTimeout: 0,
    forceCloseConnections: true,
    rewriteUrl: rewriteHost,
  }).withTypeProvider<ZodTypeProvider>();
  app.server.headersTimeout = 30_000;
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);

  app.setErrorHandler((thrown, request, reply) => {
    const error = toKilnError(thrown);
    const status = statusOf(error);
    if (status >= 500)
      request.log.error({ err: thrown, method: request.method, url: request.url }, error.message);
    return reply.code(status).send(errorBody(error));
  });
  // Of an upload that is refused the rest is not read: who sends it has to be told to stop. A short rest is read all the same: it may be on its
  // way, and closing the connection before it is here takes the answer along.
  app.addHook("onSend", async ({ raw }, reply) => {
    const { "transfer-encoding": encoding, "content-length": length = 0 } = raw.headers;
    const isLong = encoding !== undefined || Number(length) > MAX_UNWANTED_BYTES;
    if (isLong && !raw.complete && reply.statusCode >= 400) reply.header("connection", "close");
  });
  app.setNotFoundHandler((request, reply) => {
    const error = new KilnError("NOT_FOUND", `there is no ${request.method} ${request.url.split("?")[0]}`, {
      hint: "GET /openapi.json lists what there is",
    });
    return reply.code(404).send(errorBody(error));
  });

  if (!trusted) {
    app.addHook("onRequest", async (request) => {
      if ((await context.tokens.verify(request.headers)) !== undefined) return;
      throw new KilnError("UNAUTHORIZED", "this needs a token the daemon knows", {
        hint: "kiln token create NAME on the daemon's machine makes one; send it as Authorization: Bearer TOKEN or X-Kiln-Token: TOKEN",
      });
    });
  }

  await app.register(swagger, openapiOptions);

  addSystemRoutes(app, context);
  addTemplateRoutes(app, context);
  addBuildRoutes(app, context);
  addDiskRoutes(app, context);
  addSandboxRoutes(app, context);
  addProcessRoutes(app, context);
  addFileRoutes(app, context);
  addPortRoutes(app, context);
  answerUpgrades(app, context, {
    trusted,
    choose: (request) =>
      trusted && rewriteHost(request) === EXEC_PATH ? serveExecConnection : upgradeToPort,
  });
  await app.ready();
  return app;
}
