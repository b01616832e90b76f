/** What a store knows of an object without its content. */
export interface ObjectInfo {
  key: string;
  /** In bytes. */
  size: number;
  /** By the store's clock. */
  modified: Date;
}

export interface GetOptions {
  /** Part of the object, in bytes. */
  range?: { offset: number; length: number };
  /** A longer object, or part, is refused. */
  maxBytes: number;
  signal?: AbortSignal | undefined;
}

/**
 * Objects by name: a folder, or a bucket. A name is one or more parts of letters, digits, dots, dashes and underscores between slashes.
 * What `put` has resolved for is there for everybody from then on, whole, and `list` tells of it.
 *
 * Every method throws KilnError `STORE_UNAVAILABLE` when the store does not answer or refuses; trying again may help.
 */
export interface ObjectStore extends AsyncDisposable {
  /** For people: where it is. Holds no secret. */
  readonly name: string;
  /** Whether trying again at once is of use: it is somewhere else. */
  readonly remote: boolean;
  /** @returns the content, or undefined when there is no such object. */
  get(key: string, options: GetOptions): Promise<Buffer<ArrayBuffer> | undefined>;
  /**
   * Writes an object, replacing one of that name in one step.
   * @param sha256 of `bytes`, by whoever knows it: a store that needs it then does not compute it again.
   */
  put(key: string, bytes: Uint8Array, signal?: AbortSignal, sha256?: string): Promise<void>;
  /** Writes an object unless there is one of that name. @returns whether it was written: of all who try, one is told so. */
  create(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<boolean>;
  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined>;
  /** Every object whose name begins with `prefix`, in no order. */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectInfo>;
  /** Does nothing when there is none. */
  delete(key: string, signal?: AbortSignal): Promise<void>;
}

/** The names of what a store holds. */
export const keys = {
  pack: (digest: string): string => `packs/${digest.slice(0, 2)}/${digest}`,
  image: (digest: string): string => `images/${digest}`,
  template: (digest: string): string => `templates/${digest}`,
  signature: (digest: string, keyId: string): string => `signatures/${digest}/${keyId}`,
  tag: (name: string): string => `tags/${name}`,
  sandbox: (id: string, digest: string): string => `sandboxes/${id}/${digest}`,
  claim: (digest: string): string => `claims/${digest}`,
  start: (digest: string): string => `starts/${digest}`,
  trace: (digest: string): string => `traces/${digest}`,
  lease: (kind: "use" | "gc", id: string): string => `leases/${kind}/${id}`,
  hold: (digest: string, node: string): string => `holds/${digest}/${node}`,
} as const;
