import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { KilnError } from "../errors.ts";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { keys, type ObjectStore } from "./client/object-store.ts";
import { MAX_SMALL_OBJECT_BYTES } from "./format/limits.ts";

/** Length of an Ed25519 public key, in bytes. */
const KEY_BYTES = 32;
/** DER of everything in a SubjectPublicKeyInfo of Ed25519 before the key itself, RFC 8410. */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const KEY_TEXT = /^kiln-ed25519:([A-Za-z0-9+/]{43}=)$/;

/** A public key as it is written in a configuration: `kiln-ed25519:` and 44 characters of base64. */
export const PublicKeyText = z.string().regex(KEY_TEXT, "must be kiln-ed25519: and a key in base64");

const Signature = z.strictObject({
  format: z.literal(1),
  key: PublicKeyText,
  signature: z.base64().length(88),
});

/** Signs versions of templates. */
export interface Signer {
  /** First 16 hexadecimal digits of the key's SHA-256. */
  readonly keyId: string;
  /** What is to be stored as the version's signature. */
  sign(digest: string, kind?: Signed): Buffer;
}

/** What a signature may be of: one of a sandbox is none of a template. */
export type Signed = "template" | "sandbox";

/** What is signed: nothing else that a key might be used for looks like this. */
const statement = (digest: string, kind: Signed): Buffer =>
  Buffer.from(`kiln ${kind} manifest 1\nsha256:${digest}\n`);

const idOf = (raw: Buffer): string => createHash("sha256").update(raw).digest("hex").slice(0, 16);

function rawKey(text: string): Buffer {
  const [, base64 = ""] = KEY_TEXT.exec(text) ?? [];
  const raw = Buffer.from(base64, "base64");
  if (raw.length !== KEY_BYTES) throw new KilnError("USAGE", `"${text}" is no public key`);
  return raw;
}

function textOf(key: KeyObject): string {
  const der = createPublicKey(key).export({ format: "der", type: "spki" });
  return `kiln-ed25519:${der.subarray(SPKI_PREFIX.length).toString("base64")}`;
}

/** Makes a key, writes its secret part to the file `path` (PEM, for its owner's eyes) and @returns its public part. */
export async function generateKey(path: string): Promise<string> {
  const { privateKey } = generateKeyPairSync("ed25519");
  await writeFileAtomic(path, privateKey.export({ format: "pem", type: "pkcs8" }), 0o600);
  return textOf(privateKey);
}

/** @throws KilnError `USAGE` when the file holds no Ed25519 key. */
export async function readSigner(path: string): Promise<Signer> {
  const key = await readPrivateKey(path);
  const text = textOf(key);
  return {
    keyId: idOf(rawKey(text)),
    sign: (digest, kind = "template") => {
      const signature = sign(null, statement(digest, kind), key).toString("base64");
      return Buffer.from(`${JSON.stringify({ format: 1, key: text, signature })}\n`);
    },
  };
}

async function readPrivateKey(path: string): Promise<KeyObject> {
  try {
    const key = createPrivateKey(await readFile(path));
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch (cause) {
    throw new KilnError("USAGE", `${path}: no key can be read from it`, {
      cause,
      hint: "kiln store keygen makes one",
    });
  }
  throw new KilnError("USAGE", `${path}: it is not an Ed25519 key`);
}

/**
 * Checks that one of the keys `trusted` has signed the version.
 * @throws KilnError `STORE_UNTRUSTED`.
 */
export async function requireSignature(
  store: ObjectStore,
  { name, digest }: { name: string; digest: string },
  trusted: readonly string[],
  signal?: AbortSignal,
  kind: Signed = "template",
): Promise<void> {
  for (const text of trusted) {
    const raw = rawKey(text);
    const bytes = await store.get(keys.signature(digest, idOf(raw)), {
      maxBytes: MAX_SMALL_OBJECT_BYTES,
      signal,
    });
    if (bytes && isSignedBy(bytes, raw, digest, kind)) return;
  }
  throw new KilnError(
    "STORE_UNTRUSTED",
    `${name}@sha256:${digest} is not signed by a key that this node trusts`,
    {
      hint: "push it again with kiln store push --key FILE, or add its signer's key to store.trusted_keys",
      details: { name, digest },
    },
  );
}

function isSignedBy(bytes: Buffer, raw: Buffer, digest: string, kind: Signed): boolean {
  try {
    const { signature } = Signature.parse(JSON.parse(bytes.toString("utf8")));
    const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: "der", type: "spki" });
    return verify(null, statement(digest, kind), key, Buffer.from(signature, "base64"));
  } catch {
    return false;
  }
}
