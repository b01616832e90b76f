import { fromWire } from "./convert.ts";
import type { Transport } from "./transport/transport.ts";
import type { CallOptions, Template } from "./types.ts";

/** The templates there are: built in, the user's own, and those made from sandboxes. */
export class Templates {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async list({ signal }: CallOptions = {}): Promise<Template[]> {
    return fromWire<{ templates: Template[] }>(await this.#transport.json("GET", "/v1/templates", { signal }))
      .templates;
  }

  /** A template with its spec. @throws KilnError `TEMPLATE_NOT_FOUND`. */
  async get(name: string, { signal }: CallOptions = {}): Promise<Template> {
    const path = `/v1/templates/${encodeURIComponent(name)}`;
    return fromWire<Template>(await this.#transport.json("GET", path, { signal }));
  }

  /** Removes what was built from it and no other template has, and the template if it is the user's own. */
  async remove(name: string, { signal }: CallOptions = {}): Promise<void> {
    await this.#transport.json("DELETE", `/v1/templates/${encodeURIComponent(name)}`, { signal });
  }
}
