import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import { KilnError } from "../../errors.ts";
import type { GetOptions, ObjectInfo, ObjectStore } from "./object-store.ts";

/** Connecting takes well under a second on any network that is of use here. */
const CONNECT_TIMEOUT_MS = 5_000;
/** How long a server may send nothing before a request is given up and tried again. */
const SILENCE_TIMEOUT_MS = 15_000;
const MAX_CONNECTIONS = 32;

export interface S3StoreOptions {
  bucket: string;
  /** Begins every object's name; ends with a slash unless it is empty. */
  prefix: string;
  /** Base URL of a server that is not AWS, such as `http://127.0.0.1:9000`: the bucket is then part of the path. */
  endpoint?: string | undefined;
  /** @default AWS_REGION, the profile's, or us-east-1 */
  region?: string | undefined;
  /** Profile in ~/.aws. @default AWS_PROFILE */
  profile?: string | undefined;
}

/**
 * A store in a bucket of S3, or of any server that speaks its language. Credentials come from where AWS's own tools find them: the
 * environment, ~/.aws, the machine's role. They are never part of a message.
 */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly remote = true;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor({ bucket, prefix, endpoint, region, profile }: S3StoreOptions) {
    this.name = `s3://${bucket}/${prefix}${endpoint === undefined ? "" : ` at ${endpoint}`}`;
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.#client = new S3Client({
      ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
      ...(profile === undefined ? {} : { profile }),
      // A server of one's own has no regions, but the signature names one.
      ...(region !== undefined
        ? { region }
        : endpoint === undefined
          ? {}
          : { region: process.env.AWS_REGION ?? "us-east-1" }),
      // Whoever uses the store knows how long to try: see retry.ts.
      maxAttempts: 1,
      // What is stored has addresses of its own, which are checked; not every server knows S3's newer checksums.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      requestHandler: {
        connectionTimeout: CONNECT_TIMEOUT_MS,
        socketTimeout: SILENCE_TIMEOUT_MS,
        requestTimeout: 0,
        httpAgent: { keepAlive: true, maxSockets: MAX_CONNECTIONS },
        httpsAgent: { keepAlive: true, maxSockets: MAX_CONNECTIONS },
      },
    });
  }

  async get(key: string, { range, maxBytes, signal }: GetOptions): Promise<Buffer<ArrayBuffer> | undefined> {
    return this.#try(key, async () => {
      const answer = await this.#client.send(
        new GetObjectCommand({
          Bucket: this.#bucket,
          Key: this.#prefix + key,
          ...(range && { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` }),
        }),
        signal && { abortSignal: signal },
      );
      const parts: Uint8Array<ArrayBuffer>[] = [];
      let length = 0;
      for await (const part of answer.Body as AsyncIterable<Uint8Array<ArrayBuffer>>) {
        length += part.length;
        if (length > maxBytes)
          throw new KilnError("STORE_DAMAGED", `${key} in ${this.name} is longer than ${maxBytes} bytes`);
        parts.push(part);
      }
      if (answer.ContentLength !== undefined && answer.ContentLength !== length)
        throw new Error("the answer was cut off");
      return parts.length === 1 && parts[0]
        ? Buffer.from(parts[0].buffer, parts[0].byteOffset, length)
        : Buffer.concat(parts);
    });
  }

  async put(key: string, bytes: Uint8Array, signal?: AbortSignal, sha256?: string): Promise<void> {
    const command = new PutObjectCommand({
      Bucket: this.#bucket,
      Key: this.#prefix + key,
      Body: bytes,
      ContentLength: bytes.length,
    });
    if (sha256 !== undefined) {
      // The signature covers the content's hash, and takes it from the headers where it is in them.
      command.middlewareStack.add(
        (next) => (args) => {
          Object.assign((args.request as { headers: object }).headers, { "x-amz-content-sha256": sha256 });
          return next(args);
        },
        { step: "build" },
      );
    }
    await this.#try(key, () => this.#client.send(command, signal && { abortSignal: signal }));
  }

  async create(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    const written = await this.#try(key, async () => {
      try {
        await this.#client.send(
          new PutObjectCommand({
            Bucket: this.#bucket,
            Key: this.#prefix + key,
            Body: bytes,
            ContentLength: bytes.length,
            IfNoneMatch: "*",
          }),
          signal && { abortSignal: signal },
        );
        return true;
      } catch (error) {
        if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 412) return false;
        throw error;
      }
    });
    return written ?? false;
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#try(key, async () => {
      const answer = await this.#client.send(
        new HeadObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + key }),
        signal && { abortSignal: signal },
      );
      return { key, size: answer.ContentLength ?? 0, modified: answer.LastModified ?? new Date(0) };
    });
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectInfo> {
    let token: string | undefined;
    do {
      const from = token;
      const page = await this.#try(prefix, () =>
        this.#client.send(
          new ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: this.#prefix + prefix,
            ContinuationToken: from,
          }),
          signal && { abortSignal: signal },
        ),
      );
      if (page === undefined) throw this.#failure("list", "there is no such bucket");
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        if (Key === undefined) continue;
        yield { key: Key.slice(this.#prefix.length), size: Size ?? 0, modified: LastModified ?? new Date(0) };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await this.#try(key, () =>
      this.#client.send(
        new DeleteObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + key }),
        signal && { abortSignal: signal },
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy();
  }

  async #try<T>(key: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof KilnError) throw error;
      if (error instanceof Error && error.name === "AbortError") throw error;
      if (error instanceof S3ServiceException) {
        const status = error.$metadata.httpStatusCode;
        if (error.name === "NoSuchKey" || (status === 404 && error.name !== "NoSuchBucket")) return undefined;
        throw this.#failure(key, `${error.name}${status === undefined ? "" : ` (HTTP ${status})`}`, error);
      }
      throw this.#failure(key, error instanceof Error ? error.message || error.name : String(error), error);
    }
  }

  /** The message of an S3 error may quote what was sent; its name and status say enough. */
  #failure(key: string, why: string, error?: unknown): KilnError {
    const cause = error instanceof S3ServiceException ? undefined : error;
    return new KilnError("STORE_UNAVAILABLE", `${key} in the store ${this.name}: ${why}`, {
      ...(cause === undefined ? {} : { cause }),
      hint: "is the store running, is the bucket there, and are the credentials right? They come from the environment or ~/.aws",
      ...(error instanceof S3ServiceException && { details: { status: error.$metadata.httpStatusCode } }),
    });
  }
}
