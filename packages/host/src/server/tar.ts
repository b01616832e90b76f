import { KilnError } from "../errors.ts";
import type { GuestAgent } from "../guest/agent.ts";
import { shellExitCode } from "../guest/exec.ts";

/** How much of tar's complaints is told. */
const MAX_COMPLAINT_BYTES = 2_000;

async function complaintOf(chunks: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const chunk of chunks) if (text.length < MAX_COMPLAINT_BYTES) text += chunk.toString("utf8");
  return text.slice(0, MAX_COMPLAINT_BYTES).trim();
}

function failure(what: string, code: number, complaint: string): KilnError {
  if (code === 127) {
    return new KilnError("GUEST_ERROR", `${what}: there is no tar in this sandbox`, {
      hint: "add the package tar to the template",
    });
  }
  // The last line only says that there were others.
  const reason = complaint.split("\n")[0] ?? "";
  const isMissing = /No such file or directory|Cannot chdir/.test(complaint);
  return new KilnError(
    isMissing ? "FILE_NOT_FOUND" : "GUEST_ERROR",
    `${what}: ${reason || `tar ended with ${code}`}`,
  );
}

/** A directory of the guest as a tar stream, made by the guest's tar. Leaving the loop early stops it. */
export async function* packDirectory(agent: GuestAgent, path: string): AsyncGenerator<Buffer> {
  const process = agent.exec({
    argv: ["tar", "--create", "--numeric-owner", "--file=-", `--directory=${path}`, "."],
  });
  const complaint = complaintOf(process.stderr);
  let ended = false;
  try {
    yield* process.stdout;
    const code = shellExitCode(await process.exited());
    ended = true;
    // 1: a file changed while it was read, which on a running machine it may.
    if (code > 1) throw failure(`cannot pack ${path}`, code, await complaint);
  } finally {
    if (!ended) await process.cancel().catch(() => undefined);
    complaint.catch(() => undefined);
  }
}

/** Unpacks a tar stream into a directory of the guest, which is made when missing. */
export async function unpackDirectory(
  agent: GuestAgent,
  path: string,
  content: AsyncIterable<Uint8Array>,
): Promise<void> {
  await agent.files.makeDirectory(path, { parents: true });
  const process = agent.exec({
    argv: ["tar", "--extract", "--file=-", `--directory=${path}`, "--no-same-owner"],
    stdin: true,
  });
  const complaint = complaintOf(process.stderr);
  const discard = complaintOf(process.stdout);
  let ended = false;
  try {
    const status = process.exited();
    const over = status.then(
      () => true,
      () => true,
    );
    for await (const chunk of content) {
      if (await Promise.race([over, process.writeStdin(chunk).then(() => false)])) break;
    }
    await process.endStdin();
    const code = shellExitCode(await status);
    ended = true;
    if (code !== 0) throw failure(`cannot unpack into ${path}`, code, await complaint);
  } finally {
    if (!ended) await process.cancel().catch(() => undefined);
    await discard.catch(() => undefined);
    complaint.catch(() => undefined);
  }
}
