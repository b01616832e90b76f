import type { FetchClient } from "../fetch-client.ts";
import { FuseServer } from "./fuse/fuse-server.ts";
import { ShownFile } from "./shown-file.ts";

/** The files that are shown, in a folder that is mounted when the first one is asked for. */
export class ShownFiles {
  readonly #directory: string;
  readonly #fetcher: FetchClient;
  readonly #shown = new Map<string, ShownFile>();
  #fuse: Promise<FuseServer | undefined> | undefined;
  #mounted: FuseServer | undefined;

  constructor(directory: string, fetcher: FetchClient) {
    this.#directory = directory;
    this.#fetcher = fetcher;
  }

  /**
   * A path at which the file can be mapped and read, itself if it has arrived as a whole; undefined where that is not possible.
   * @throws KilnError `IMAGE_INVALID`.
   */
  async show(path: string): Promise<string | undefined> {
    const fuse = await this.mount();
    if (fuse === undefined) return undefined;
    let shown = this.#shown.get(path);
    // A template that was removed and has come again: what VMs have mapped of the former file stays open for them.
    if (shown === undefined || !shown.isCurrent) {
      shown = ShownFile.open(path, fuse, this.#fetcher);
      if (shown === undefined) return path;
      this.#shown.set(path, shown);
    }
    return shown.path;
  }

  /** The folder, mounted once; undefined where that is not possible. */
  mount(): Promise<FuseServer | undefined> {
    this.#fuse ??= FuseServer.start(this.#directory).then(
      (fuse) => {
        this.#mounted = fuse;
        return fuse;
      },
      () => undefined,
    );
    return this.#fuse;
  }

  /** How many times files are open or mapped. */
  get users(): number {
    return this.#mounted?.users ?? 0;
  }

  async close(): Promise<void> {
    await (await this.#fuse)?.stop();
  }
}
