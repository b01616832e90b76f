import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { KilnError } from "../errors.ts";
import { noSpace, saysNoSpace } from "./no-space.ts";
import { lastLine, runPodman, tryInStore } from "./podman.ts";
import type { PodmanStore } from "./podman-store.ts";
import { openWorkFolder } from "./store-sweep.ts";

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LIMIT_MS = 20 * 60_000;
/** apt's settings in the image, as the official one has them: no downloaded packages and caches in layers. */
const APT_SETTINGS = join(import.meta.dirname, "debian", "99kiln-clean");
/**
 * No file in the image is younger (seconds; 2023-06-10, Debian 12's release), so that the same packages make the
 * same bytes on every day.
 */
const SOURCE_DATE_EPOCH = "1686355200";
/** Image label with how the image came to be, as base64 of JSON ({@link DebianProvenance}). */
export const PROVENANCE_LABEL = "kiln.provenance";

const provenanceSchema = z.strictObject({
  made_by: z.string(),
  suite: z.string(),
  made_at: z.iso.datetime(),
  /** `name version`, sorted. */
  packages: z.array(z.string()),
});
export type DebianProvenance = z.infer<typeof provenanceSchema>;

/** How an image with these labels came to be, when it was made here. */
export function readProvenance(labels: Record<string, string>): DebianProvenance | undefined {
  const label = labels[PROVENANCE_LABEL];
  if (label === undefined) return undefined;
  try {
    return provenanceSchema.parse(JSON.parse(Buffer.from(label, "base64").toString()));
  } catch {
    return undefined; // Somebody else's label of the same name.
  }
}

/**
 * Makes a stand-in for the official image `name` from Debian's own archive and gives it that name in Kiln's storage:
 * the packages of a minimal system, without documentation, as the official slim image is.
 *
 * @throws KilnError `BASE_IMAGE_UNAVAILABLE` when mmdebstrap is missing or fails, `DISK_FULL`.
 */
export async function makeDebianImage(
  store: PodmanStore,
  name: string,
  suite: string,
  { tmpdir, signal }: { tmpdir: string; signal?: AbortSignal },
  update: (message: string) => void,
): Promise<void> {
  const unavailable = (reason: string, hint: string) =>
    new KilnError("BASE_IMAGE_UNAVAILABLE", `cannot make ${name} from Debian's archive: ${reason}`, { hint });
  await access(KEYRING).catch(() => {
    throw unavailable(
      "Debian's archive keyring is not here",
      "apt-get install debian-archive-keyring mmdebstrap",
    );
  });
  await using work = await openWorkFolder(store);
  const archive = join(work.path, "debian.tar");
  const packages = join(work.path, "packages");
  const words = [
    "--variant=minbase",
    "--components=main",
    `--keyring=${KEYRING}`,
    // No waiting for the disk after each file: what a crash spoils is never imported.
    "--dpkgopt=force-unsafe-io",
    // What the official slim image leaves out, except copyright files.
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    `--customize-hook=copy-in ${quote(APT_SETTINGS)} /etc/apt/apt.conf.d/`,
    // mmdebstrap copies these from the host.
    '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
    `--customize-hook=dpkg-query --admindir="$1/var/lib/dpkg" --show --showformat='\${Package} \${Version}\\n' > ${quote(packages)}`,
    suite,
    archive,
  ];
  const limits = {
    ...(signal ? { signal } : {}),
    tmpdir: work.path,
    env: { SOURCE_DATE_EPOCH },
    timeoutMs: LIMIT_MS,
    onLine: (line: string) => update(line.slice(0, 200)),
  };
  // Without root it could make a user namespace of its own, in which it could not enter KILN_HOME. In podman's it is
  // root, and the files' owners come out right.
  const made = await tryInStore(store, "mmdebstrap", ["--mode=root", ...words], limits);
  if (made.exitCode !== 0) {
    if (saysNoSpace(made.stderr)) throw noSpace(`mmdebstrap: ${lastLine(made.stderr)}`);
    throw unavailable(
      made.timedOut ? "it took too long" : lastLine(made.stderr),
      "check that deb.debian.org can be reached",
    );
  }
  const provenance: DebianProvenance = {
    made_by: "mmdebstrap",
    suite,
    made_at: new Date().toISOString(),
    packages: (await readFile(packages, "utf8")).trim().split("\n").sort(),
  };
  const label = Buffer.from(JSON.stringify(provenance)).toString("base64");
  await runPodman(
    store,
    [
      "import",
      "--quiet",
      '--change=CMD ["bash"]',
      "--change=ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      `--change=LABEL ${PROVENANCE_LABEL}=${label}`,
      archive,
      name,
    ],
    { ...(signal ? { signal } : {}), tmpdir },
  );
}

/** `text` as one word of sh. */
const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
