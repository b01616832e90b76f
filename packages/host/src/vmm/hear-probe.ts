import { spawn } from "node:child_process";
import { KilnError } from "../errors.ts";

/**
 * How long a kernel may say nothing under KVM, in milliseconds. It talks from its first moment on, and is through in a second where KVM
 * works, in minutes where KVM itself runs on an emulated processor.
 */
const KVM_PATIENCE_MS = 20_000;
/** What the initramfs prints when it is started with `kiln.probe`. */
const PROBE_OK = "kiln: probe ok";

/**
 * Runs a VMM whose guest's console is its output, as far as the guest's word; returns why that did not come, or undefined. The VMM is gone
 * afterwards.
 * @param program what it is called in messages: `QEMU`.
 * @throws KilnError `CANCELLED`.
 */
export async function hearProbe(
  program: string,
  [command, words]: [string, string[]],
  signal?: AbortSignal,
): Promise<string | undefined> {
  const child = spawn(command, words, { stdio: ["ignore", "pipe", "pipe"] });
  const outcome = Promise.withResolvers<string | undefined>();
  let console = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    console = (console + text).slice(-4_096);
    patience.refresh();
    if (console.includes(PROBE_OK)) outcome.resolve(undefined);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-500);
  });
  child.once("error", (error) => outcome.resolve(error.message));
  child.once("close", () => {
    const reason = errors.trim() || console.trim().slice(-500) || "no reason given";
    outcome.resolve(`${program} gave up: ${reason}`);
  });
  const patience = setTimeout(
    () => outcome.resolve(`no guest boots under it (nothing was heard for ${KVM_PATIENCE_MS / 1000} s)`),
    KVM_PATIENCE_MS,
  );
  const cancel = () => outcome.reject(new KilnError("CANCELLED", "cancelled while probing KVM"));
  signal?.addEventListener("abort", cancel);
  try {
    return await outcome.promise;
  } finally {
    clearTimeout(patience);
    signal?.removeEventListener("abort", cancel);
    child.kill("SIGKILL");
  }
}
