import { ensureRootfs } from "@kiln/host/build/rootfs.ts";
import { KilnHome } from "@kiln/host/home.ts";
import { parseTemplateSpec } from "@kiln/host/template/parse-spec.ts";

// Builds the spec in argv[2] in a process of its own, for tests that kill it or run two at once; prints progress and
// the result as JSON lines.
const print = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
const spec = parseTemplateSpec(JSON.parse(process.argv[2] ?? ""));
const rootfs = await ensureRootfs(KilnHome.fromEnvironment(), spec, { onProgress: print });
print({ key: rootfs.key });
