import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { StoreLocation } from "../../../packages/host/src/store/client/location.ts";

const MINIO = fileURLToPath(new URL("../../../script/minio", import.meta.url));

/** A place for stores: each test has one of its own there. */
export interface StoreKind extends AsyncDisposable {
  readonly name: "folder" | "s3";
  /** A store that nobody has used yet. */
  fresh(): StoreLocation;
  /** Address of the S3 server. */
  readonly port: number | undefined;
  /** The S3 server's process. */
  readonly pid: number | undefined;
}

let number = 0;

export async function openFolderKind(): Promise<StoreKind> {
  const root = await mkdtemp(join(tmpdir(), "kiln-stores-"));
  return {
    name: "folder",
    fresh: () => ({ url: join(root, String(++number)) }),
    port: undefined,
    pid: undefined,
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

/** A real MinIO, or why there is none. Sets the environment's credentials to its own. */
export async function openS3Kind(): Promise<StoreKind | string> {
  const words = ["sh", "-c", "env | grep -E '^(KILN_TEST_S3_|AWS_)'; echo; exec cat >/dev/null"];
  // Building one takes longer than all the tests: who wants it says `script/minio --install`.
  const env = { ...process.env, KILN_SETUP: "never" };
  const child = spawn(MINIO, words, { stdio: ["pipe", "pipe", "pipe"], env });
  const variables = await readVariables(child);
  if (typeof variables === "string") return variables;
  Object.assign(process.env, variables);
  const endpoint = variables.KILN_TEST_S3_ENDPOINT ?? "";
  return {
    name: "s3",
    fresh: () => ({ url: `s3://${variables.KILN_TEST_S3_BUCKET}/store-${++number}`, endpoint }),
    port: Number(new URL(endpoint).port),
    pid: Number(variables.KILN_TEST_S3_PID),
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, "close");
      child.stdin?.end();
      await ended;
    },
  };
}

async function readVariables(child: ChildProcess): Promise<Record<string, string> | string> {
  const variables: Record<string, string> = {};
  const heardOut = once(child, "close");
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  if (!child.stdout) return "no pipe";
  for await (const line of createInterface(child.stdout)) {
    const equals = line.indexOf("=");
    if (equals < 0) return variables;
    variables[line.slice(0, equals)] = line.slice(equals + 1);
  }
  await heardOut;
  return said.trim().split("\n").at(-1) || "script/minio said nothing";
}
