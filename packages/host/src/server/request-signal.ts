import type { FastifyReply, FastifyRequest } from "fastify";

/** Fires when the client goes away before it has its answer, or the daemon ends. */
export function requestSignal(
  _request: FastifyRequest,
  reply: Pick<FastifyReply, "raw">,
  closing: AbortSignal,
): AbortSignal {
  const gone = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) gone.abort();
  });
  return AbortSignal.any([gone.signal, closing]);
}
