import { constants } from "node:fs";
import { access, copyFile, cp, mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type BuildOnlyVariable, TOOLS_FOLDER } from "../template/containerfile.ts";
import { TOOL_SCRIPTS } from "../template/tools.ts";

/** Where builds find what the host lends them. An empty directory of this name is all that stays in an image. */
const MOUNT = "/run/kiln";

/** CA bundles of Debian and Ubuntu, Fedora, openSUSE, Alpine; the first one found counts. */
const BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

const CA_VARIABLES = [
  "SSL_CERT_FILE",
  "CURL_CA_BUNDLE",
  "GIT_SSL_CAINFO",
  "NODE_EXTRA_CA_CERTS",
  "npm_config_cafile",
  "PIP_CERT",
  "REQUESTS_CA_BUNDLE",
  "CARGO_HTTP_CAINFO",
] as const satisfies BuildOnlyVariable[];

/**
 * What a build may use of the host without keeping it: the CA bundle, so that builds work behind a proxy that
 * inspects TLS, and the package indexes that the host's environment names; and Kiln's own scripts that install tools. It goes into the build as read-only files
 * and as variables whose values are the same everywhere, so it never makes a cached step stale and never shows in an
 * image's history. Proxy variables are podman's own business (`--http-proxy`), and treated alike.
 *
 * @returns the flags for `podman build`.
 */
export async function hostInputs(folder: string, env: NodeJS.ProcessEnv = process.env): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  await cp(TOOL_SCRIPTS, join(folder, basename(TOOLS_FOLDER)), { recursive: true });
  const variables = new Map<BuildOnlyVariable, string>();
  const bundle = await findBundle(env);
  if (bundle !== undefined) {
    await copyFile(bundle, join(folder, "ca.pem"));
    for (const name of CA_VARIABLES) variables.set(name, `${MOUNT}/ca.pem`);
  }
  for (const { variable, file, text } of indexFiles(env)) {
    if (text === undefined) continue;
    await writeFile(join(folder, file), text);
    variables.set(variable, `${MOUNT}/${file}`);
  }
  return [
    `--volume=${folder}:${MOUNT}:ro`,
    ...[...variables].map(([name, value]) => `--build-arg=${name}=${value}`),
  ];
}

/** Configuration files for pip, uv and npm, from the variables that pip, uv and npm read on the host. */
function indexFiles(
  env: NodeJS.ProcessEnv,
): { variable: BuildOnlyVariable; file: string; text: string | undefined }[] {
  const oneLine = (value: string | undefined) => (value && !/\p{Cc}/u.test(value) ? value : undefined);
  const pip = [
    ["index-url", oneLine(env.PIP_INDEX_URL)],
    ["extra-index-url", oneLine(env.PIP_EXTRA_INDEX_URL)],
    ["trusted-host", oneLine(env.PIP_TRUSTED_HOST)],
    ["timeout", oneLine(env.PIP_DEFAULT_TIMEOUT)],
  ].filter(([, value]) => value !== undefined);
  const uv = oneLine(env.UV_DEFAULT_INDEX) ?? oneLine(env.UV_INDEX_URL) ?? oneLine(env.PIP_INDEX_URL);
  const npm = oneLine(env.npm_config_registry) ?? oneLine(env.NPM_CONFIG_REGISTRY);
  return [
    {
      variable: "PIP_CONFIG_FILE",
      file: "pip.conf",
      text:
        pip.length === 0
          ? undefined
          : `[global]\n${pip.map(([key, value]) => `${key} = ${value}\n`).join("")}`,
    },
    {
      variable: "UV_CONFIG_FILE",
      file: "uv.toml",
      text: uv === undefined ? undefined : `[[index]]\nurl = ${JSON.stringify(uv)}\ndefault = true\n`,
    },
    {
      variable: "NPM_CONFIG_GLOBALCONFIG",
      file: "npmrc",
      text: npm === undefined ? undefined : `registry=${npm}\n`,
    },
  ];
}

/** The CA bundle of this machine: the one that `SSL_CERT_FILE` names, else the system's. */
export async function findBundle(env: NodeJS.ProcessEnv = process.env): Promise<string | undefined> {
  for (const path of [env.SSL_CERT_FILE, ...BUNDLES]) {
    if (!path) continue;
    try {
      await access(path, constants.R_OK);
      return path;
    } catch {
      // Not there or not readable: the next one may be.
    }
  }
  return undefined;
}
