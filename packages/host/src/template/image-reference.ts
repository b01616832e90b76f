const DOMAIN =
  "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]{1,5})?";
const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";

/** `[host[:port]/]path[:tag][@sha256:digest]`, by the grammar of github.com/distribution/reference. */
export const IMAGE_REFERENCE = new RegExp(
  `^(?:${DOMAIN}/)?${COMPONENT}(?:/${COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`,
);

/**
 * The full form of an image name, so that `debian` and `docker.io/library/debian:latest` are one: the registry is
 * docker.io unless the first part looks like a host, and the tag is `latest` unless one is given.
 */
export function normaliseImageReference(reference: string): string {
  const [withoutDigest = "", digest] = reference.split("@");
  const slash = withoutDigest.indexOf("/");
  const first = slash === -1 ? "" : withoutDigest.slice(0, slash);
  const hasHost = first === "localhost" || /[.:A-Z]/.test(first);
  let host = hasHost ? first : "docker.io";
  let rest = hasHost ? withoutDigest.slice(slash + 1) : withoutDigest;
  if (host === "index.docker.io") host = "docker.io";
  if (host === "docker.io" && !rest.includes("/")) rest = `library/${rest}`;
  if (digest !== undefined) return `${host}/${rest}@${digest}`;
  return /:[^/]*$/.test(rest) ? `${host}/${rest}` : `${host}/${rest}:latest`;
}

/** The suite when `name`, in its full form, is an official Debian image, which can be made from Debian's archive. */
export function debianSuite(name: string): string | undefined {
  return /^docker\.io\/library\/debian:([a-z]+)(?:-slim)?$/.exec(name)?.[1];
}

export const isOfficialDebian = (name: string): boolean => debianSuite(name) !== undefined;
