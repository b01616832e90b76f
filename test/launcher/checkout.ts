import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { text } from "node:stream/consumers";

const source = resolve(import.meta.dirname, "../..");

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/**
 * A checkout nobody has run yet, with a home folder of its own: the launcher, the manifests and the lock file are the
 * real ones; in place of the CLI a script that tells how it was started, for it is the launcher that is tested here.
 */
export class Checkout implements AsyncDisposable {
  readonly folder: string;
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;

  private constructor(folder: string) {
    this.folder = folder;
    this.root = join(folder, "checkout");
    this.env = { PATH: process.env.PATH, HOME: join(folder, "home") };
  }

  static async make(main: string): Promise<Checkout> {
    const checkout = new Checkout(await mkdtemp(join(tmpdir(), "kiln-launcher-")));
    await mkdir(join(checkout.folder, "home"));
    for (const part of ["bin", "script"])
      await cp(join(source, part), join(checkout.root, part), { recursive: true });
    const manifests = ["package.json", "package-lock.json"];
    for (const name of await readdir(join(source, "packages")))
      manifests.push(`packages/${name}/package.json`);
    for (const file of manifests) {
      await mkdir(dirname(join(checkout.root, file)), { recursive: true });
      await copyFile(join(source, file), join(checkout.root, file));
    }
    await mkdir(join(checkout.root, "packages/cli/src"), { recursive: true });
    await writeFile(join(checkout.root, "packages/cli/src/main.ts"), main);
    return checkout;
  }

  /** Starts `path` (the launcher when left out) in a process group of its own. */
  start(args: string[], options: { path?: string; cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
    const child = spawn(options.path ?? join(this.root, "bin/kiln"), args, {
      cwd: options.cwd ?? this.folder,
      env: { ...this.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const output = Promise.all([text(child.stdout), text(child.stderr)]);
    const ended = once(child, "close").then(async ([code, signal]): Promise<Ended> => {
      const [stdout, stderr] = await output;
      return { code, signal, stdout, stderr };
    });
    const killGroup = () => {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    };
    return { child, ended, killGroup };
  }

  run(args: string[], options: Parameters<Checkout["start"]>[1] = {}): Promise<Ended> {
    return this.start(args, options).ended;
  }

  /** A folder with all the commands of this machine's PATH but those named, to serve as a PATH. */
  async pathWithout(...names: string[]): Promise<string> {
    const bin = await mkdtemp(join(this.folder, "bin-"));
    for (const folder of (process.env.PATH ?? "").split(":")) {
      for (const name of await readdir(folder).catch(() => [])) {
        if (names.includes(name)) continue;
        await symlink(join(folder, name), join(bin, name)).catch(() => {}); // an earlier folder has it
      }
    }
    return bin;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
