import { homedir } from "node:os";
import { join, resolve } from "node:path";

/**
 * Where everything of one Kiln lives on disk. `KILN_HOME` names it; without that it is `$XDG_DATA_HOME/kiln`.
 *
 *     artifacts/<kind>/<key>/   the guest agent, the kernel with its initramfs
 *     rootfs/<key>/             ext4 images and what they were made of
 *     snapshots/<key>/          memory, device state and disk diff of a booted rootfs
 *     templates/<name>.json     a name, and the spec it stands for
 *     probes/                   what was found out about this host
 *     locks/                    one lock file for each thing that is built once
 *     logs/                     build and VM logs
 *     run/<owner>/<id>/         one folder for each running VM, below its owner's: sockets, session diff
 *     tmp/                      half-made things; swept when their owner is gone
 */
export class KilnHome {
  readonly root: string;

  constructor(root: string) {
    this.root = resolve(root);
  }

  static fromEnvironment(env: NodeJS.ProcessEnv = process.env): KilnHome {
    if (env.KILN_HOME) return new KilnHome(env.KILN_HOME);
    return new KilnHome(join(env.XDG_DATA_HOME || join(homedir(), ".local/share"), "kiln"));
  }

  artifact = (kind: "agent" | "kernel", key: string): string => join(this.root, "artifacts", kind, key);
  rootfs = (key: string): string => join(this.root, "rootfs", key);
  snapshot = (key: string): string => join(this.root, "snapshots", key);
  template = (name: string): string => join(this.root, "templates", `${name}.json`);
  probe = (name: string): string => join(this.root, "probes", `${name}.json`);
  lock = (name: string): string => join(this.root, "locks", `${name}.lock`);
  log = (name: string): string => join(this.root, "logs", `${name}.log`);
  get snapshots(): string {
    return join(this.root, "snapshots");
  }
  get runs(): string {
    return join(this.root, "run");
  }
  get templates(): string {
    return join(this.root, "templates");
  }
  get tmp(): string {
    return join(this.root, "tmp");
  }
}
