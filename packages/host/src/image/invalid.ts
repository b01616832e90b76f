import { KilnError } from "../errors.ts";

/** The error for a root filesystem, or an archive of one, that cannot be made into an image. */
export function invalid(message: string, cause?: unknown): KilnError {
  return new KilnError("IMAGE_INVALID", message, {
    hint: "the image's root filesystem cannot be stored as it is: change the step that makes this file, or build again",
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The error for bytes that are no tar archive, or not all of one. */
export function damaged(message: string): KilnError {
  return new KilnError("IMAGE_INVALID", message, {
    hint: "the archive was damaged or cut short on its way here: build again, and see that the disk is not full",
  });
}
