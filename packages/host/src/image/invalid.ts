import { KilnError } from "../errors.ts";

/** The error for a root filesystem, or an archive of one, that cannot be made into an image. */
export function invalid(message: string, cause?: unknown): KilnError {
  return new KilnError("IMAGE_INVALID", message, {
    hint: "the image's root filesystem cannot be stored as it is: change the step that makes this file, or build again",
    ...(cause === undefined ? {} : { cause }),
  });
}
