import type { ControlService } from "../../os/server/serve-control.ts";
import { ControlRequest, NETWORK_SERVER } from "../control-protocol.ts";
import type { Links } from "./links.ts";

/** What the network server does when it is asked to. */
export const networkControl = (links: Links, stop: () => void): ControlService<ControlRequest> => ({
  kind: NETWORK_SERVER,
  request: ControlRequest,
  answer: (request) => {
    switch (request.op) {
      case "add":
        links.add(request.network);
        return {};
      case "remove":
        links.remove(request.id);
        return {};
      case "stats":
        return links.stats(request.id);
      case "list":
        return { networks: links.list() };
      case "stop":
        setImmediate(stop);
        return {};
    }
  },
});
