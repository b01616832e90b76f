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
 *     sandboxes/<id>/           the daemon's sandboxes: record, sockets and log of the VM
 *     saved/<id>/               memory and device state of a sandbox that was paused, forked or snapshotted
 *     layers/<id>/              what sandboxes wrote: the diff of each, and those sealed before
 *     saved-templates/<name>.json   templates made from a sandbox
 *     builds/<id>/              state and events of the daemon's builds
 *     kiln.sock, block/, net/   the daemon's socket, and those of its block and network servers
 *     run/<owner>/<id>/         one folder for each VM of a process that is not the daemon: sockets, session diff
 *     containers/               Podman's storage: images and build steps
 *     uses/                     one file for each process that works with parts of the caches: their names
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
  sandbox = (id: string): string => join(this.root, "sandboxes", id);
  get sandboxes(): string {
    return join(this.root, "sandboxes");
  }
  get saved(): string {
    return join(this.root, "saved");
  }
  get layers(): string {
    return join(this.root, "layers");
  }
  get builds(): string {
    return join(this.root, "builds");
  }
  get savedTemplates(): string {
    return join(this.root, "saved-templates");
  }
  /** Where the daemon listens. */
  get socket(): string {
    return join(this.root, "kiln.sock");
  }
  get runs(): string {
    return join(this.root, "run");
  }
  get templates(): string {
    return join(this.root, "templates");
  }
  get containers(): string {
    return join(this.root, "containers");
  }
  /** What processes keep from being removed. */
  get uses(): string {
    return join(this.root, "uses");
  }
  get tmp(): string {
    return join(this.root, "tmp");
  }
}
