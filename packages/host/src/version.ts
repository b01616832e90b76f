import manifest from "../package.json" with { type: "json" };

/** Kiln's version. */
export const VERSION: string = manifest.version;
