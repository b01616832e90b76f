import { KilnError } from "../../../errors.ts";

/** What is thrown for a stream that is not as it should be: a QEMU that speaks otherwise, or one in a guest's hands. */
export function malformed(what: string): KilnError {
  return new KilnError("VM_FAILED", `QEMU's migration stream is not understood: ${what}`, {
    hint: "is this version of QEMU known to work? docs/engines.md lists those",
  });
}
