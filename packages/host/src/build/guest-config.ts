import type { TemplateSpec } from "../template/spec.ts";
import type { ImageConfig } from "./image-config.ts";

/** Where the agent finds what an image says beside its files. */
export const GUEST_CONFIG_PATH = "/etc/kiln/guest.conf";

/**
 * The text of /etc/kiln/guest.conf. One entry a line, in this order:
 *
 *     workdir <value>
 *     user <value>
 *     env <NAME>=<value>      any number
 *
 * In a value, `\\` is a backslash, `\n` a newline, `\r` a carriage return and `\xHH` another control byte.
 * Variables are the image's; where the spec has the same name, the spec's value is taken.
 */
export function guestConfig(spec: TemplateSpec, image: ImageConfig): string {
  const env = new Map([...image.env, ...Object.entries(spec.env)]);
  const lines = [
    `workdir ${escapeValue(spec.workdir)}`,
    `user ${escapeValue(spec.user)}`,
    ...[...env]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `env ${escapeValue(name)}=${escapeValue(value)}`),
  ];
  return `${lines.join("\n")}\n`;
}

function escapeValue(value: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is escaped
  return value.replaceAll(/[\\\x00-\x1f\x7f]/g, (character) => {
    if (character === "\\") return "\\\\";
    if (character === "\n") return "\\n";
    if (character === "\r") return "\\r";
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}
