import { randomInt } from "node:crypto";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const LETTERS_AND_DIGITS = `${LETTERS}0123456789`;
const ID_LENGTH = 12;

/** What an id, or the beginning of one, looks like. */
export const SANDBOX_ID = /^[a-z][a-z0-9]{0,11}$/;

/** Twelve lower-case letters and digits, the first a letter: fit for a host name. */
export function makeId(): string {
  const pick = (from: string) => from.charAt(randomInt(from.length));
  return pick(LETTERS) + Array.from({ length: ID_LENGTH - 1 }, () => pick(LETTERS_AND_DIGITS)).join("");
}
