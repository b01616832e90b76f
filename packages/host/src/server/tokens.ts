import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import { join } from "node:path";
import { z } from "zod";
import { KilnError } from "../errors.ts";
import type { KilnHome } from "../home.ts";
import { writeFileAtomic } from "../os/atomic-file.ts";
import { lockFile } from "../os/file-lock.ts";

const TOKEN_BYTES = 32;
const PREFIX = "kiln_";
const TOKEN = /^kiln_[A-Za-z0-9_-]{43}$/;
/** A daemon's token in the Authorization header. */
export const BEARER = /^Bearer (kiln_.*)$/;
/** Carries the token where Authorization is meant for a server in a sandbox. */
export const TOKEN_HEADER = "x-kiln-token";
export const TOKEN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

const File = z.object({
  format: z.literal(1),
  tokens: z.array(
    z.object({
      name: z.string().regex(TOKEN_NAME),
      /** SHA-256, hexadecimal. A token is random in 256 bits: nobody guesses it from a fast hash. */
      hash: z.string().regex(/^[0-9a-f]{64}$/),
      created_at: z.iso.datetime(),
    }),
  ),
});

export interface Token {
  name: string;
  created_at: string;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest();

/** The tokens that let requests in over TCP. Only their hashes are kept, in `$KILN_HOME/tokens.json`. */
export class Tokens {
  readonly #home: KilnHome;
  readonly #path: string;

  constructor(home: KilnHome) {
    this.#home = home;
    this.#path = join(home.root, "tokens.json");
  }

  async #read(): Promise<z.infer<typeof File>> {
    let text: string;
    try {
      text = await readFile(this.#path, "utf8");
    } catch {
      return { format: 1, tokens: [] };
    }
    const parsed = File.safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
    throw new KilnError("INTERNAL", `${this.#path} is damaged`, {
      hint: "remove it and create the tokens anew",
    });
  }

  async #change(change: (file: z.infer<typeof File>) => void): Promise<void> {
    await mkdir(this.#home.root, { recursive: true, mode: 0o700 });
    await using _lock = await lockFile(this.#home.lock("tokens"));
    const file = await this.#read();
    change(file);
    await writeFileAtomic(this.#path, `${JSON.stringify(file, undefined, 2)}\n`, 0o600);
  }

  /** Makes a token and returns it; it cannot be shown again. @throws KilnError `CONFLICT`, `USAGE`. */
  async create(name: string): Promise<string> {
    if (!TOKEN_NAME.test(name)) {
      throw new KilnError("USAGE", `"${name}" cannot be a token's name`, {
        hint: "letters, digits, dots, dashes and underscores, at most 63",
      });
    }
    const token = PREFIX + randomBytes(TOKEN_BYTES).toString("base64url");
    await this.#change((file) => {
      if (file.tokens.some((other) => other.name === name)) {
        throw new KilnError("CONFLICT", `there is a token named "${name}"`, {
          hint: "kiln token revoke removes it",
        });
      }
      file.tokens.push({ name, hash: sha256(token).toString("hex"), created_at: new Date().toISOString() });
    });
    return token;
  }

  async list(): Promise<Token[]> {
    return (await this.#read()).tokens.map(({ name, created_at }) => ({ name, created_at }));
  }

  /** @throws KilnError `NOT_FOUND`. */
  async revoke(name: string): Promise<void> {
    await this.#change((file) => {
      const kept = file.tokens.filter((token) => token.name !== name);
      if (kept.length === file.tokens.length) {
        throw new KilnError("NOT_FOUND", `there is no token named "${name}"`, {
          hint: "kiln token ls lists them",
        });
      }
      file.tokens = kept;
    });
  }

  /** The name of the token in a request's headers, or undefined. A revoked one is refused from the next request on. */
  async verify(headers: IncomingHttpHeaders): Promise<string | undefined> {
    const given = headers[TOKEN_HEADER] ?? BEARER.exec(headers.authorization ?? "")?.[1];
    if (typeof given !== "string" || !TOKEN.test(given)) return undefined;
    const token = given;
    const hash = sha256(token);
    let found: string | undefined;
    for (const { name, hash: known } of (await this.#read()).tokens) {
      if (timingSafeEqual(hash, Buffer.from(known, "hex"))) found = name;
    }
    return found;
  }
}
