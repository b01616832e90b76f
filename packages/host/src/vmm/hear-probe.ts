import { spawn } from "node:child_process";
import { KilnError } from "../errors.ts";

/** How long a guest may take, in milliseconds. */
export interface ProbeLimits {
  /** To its kernel's first words: where KVM boots nothing, they never come. */
  firstWordsMs: number;
  /** From then on between words: where KVM itself runs on an emulated processor a kernel is silent for half a minute. */
  silenceMs: number;
  /** In all. */
  wholeMs: number;
  /** How long it is believed what a limit here decided: the host may have been busy. */
  beliefMs: number;
}

const LIMITS: ProbeLimits = {
  firstWordsMs: 60_000,
  silenceMs: 120_000,
  wholeMs: 600_000,
  beliefMs: 3_600_000,
};
/** What a kernel's first line begins with, but for its time. */
const FIRST_WORDS = "Linux version ";
/** What the initramfs prints when it is started with `kiln.probe`. */
const PROBE_OK = "kiln: probe ok";
/** How much of the console is kept, in characters. */
const KEPT = 4_096;

/** Whether a guest boots, and if not, one line that says why. */
export type Verdict =
  | { boots: true }
  | {
      boots: false;
      why: string;
      /** From when on it is worth another try, in milliseconds since the epoch: time ran out. Without it, nothing but a change helps. */
      tryAgainAtMs?: number;
    };

/**
 * Runs a VMM whose guest's console is its output, as far as the guest's word. The VMM is gone afterwards.
 * @param program what it is called in messages: `QEMU`.
 * @throws KilnError `CANCELLED`.
 */
export async function hearProbe(
  program: string,
  [command, words]: [string, string[]],
  signal?: AbortSignal,
  limits: ProbeLimits = LIMITS,
): Promise<Verdict> {
  const child = spawn(command, words, { stdio: ["ignore", "pipe", "pipe"] });
  const outcome = Promise.withResolvers<Verdict>();
  const refuse = (why: string) => outcome.resolve({ boots: false, why });
  const runOut = (why: string) =>
    outcome.resolve({ boots: false, why, tryAgainAtMs: Date.now() + limits.beliefMs });
  const seconds = (ms: number) => `${ms / 1_000} s`;

  let silence: NodeJS.Timeout | undefined;
  const firstWords = setTimeout(
    () => runOut(`no guest boots under it (its kernel said nothing for ${seconds(limits.firstWordsMs)})`),
    limits.firstWordsMs,
  );
  const whole = setTimeout(
    () => runOut(`guests boot too slowly under it (not in ${seconds(limits.wholeMs)})`),
    limits.wholeMs,
  );
  let console = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    console += text;
    silence?.refresh();
    if (silence === undefined && console.includes(FIRST_WORDS)) {
      clearTimeout(firstWords);
      const why = `guests boot too slowly under it (nothing was heard for ${seconds(limits.silenceMs)})`;
      silence = setTimeout(() => runOut(why), limits.silenceMs);
    }
    if (console.includes(PROBE_OK)) outcome.resolve({ boots: true });
    console = console.slice(-KEPT);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-500);
  });
  child.once("error", (error) => refuse(error.message));
  child.once("close", () => {
    refuse(`${program} gave up: ${errors.trim() || console.trim().slice(-500) || "no reason given"}`);
  });
  const cancel = () => outcome.reject(new KilnError("CANCELLED", "cancelled while probing KVM"));
  signal?.addEventListener("abort", cancel);
  try {
    return await outcome.promise;
  } finally {
    for (const timer of [firstWords, silence, whole]) clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
    child.kill("SIGKILL");
  }
}
