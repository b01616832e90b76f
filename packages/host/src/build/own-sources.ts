import { hashFiles } from "./artifact-cache.ts";

const known = new Map<string, Promise<string>>();

/**
 * `hashFiles` of sources that came with Kiln, read once for all that this process makes of them: looking at a hundred files would be most
 * of what it costs to find a template.
 */
export function hashOwnSources(
  root: string,
  paths: readonly string[],
  skip: (path: string) => boolean,
): Promise<string> {
  const name = JSON.stringify([root, ...paths]);
  const hash = known.get(name) ?? hashFiles(root, paths, skip);
  known.set(name, hash);
  hash.catch(() => known.delete(name));
  return hash;
}

/** Has the sources read again: another process may have built from newer ones. */
export function forgetOwnSources(): void {
  known.clear();
}
