/** Inside the host package dependencies point one way; ARCHITECTURE.md draws the same picture. */
const only = (from, allowed) => ({
  name: `${from}-depends-on`,
  severity: "error",
  comment: `${from} may import from: ${allowed.join(", ") || "nothing but the shared basics"}`,
  from: { path: `^packages/host/src/${from}/`, pathNot: "[.]test[.]ts$" },
  to: {
    path: "^packages/host/src/[^/]+/",
    pathNot: [from, "os", ...allowed].map((name) => `^packages/host/src/${name}/`),
  },
});

export default {
  forbidden: [
    { name: "no-circular", severity: "error", from: {}, to: { circular: true } },
    { name: "no-orphan-package", severity: "error", from: {}, to: { couldNotResolve: true } },
    {
      name: "no-dev-dependency",
      severity: "error",
      from: { path: "^packages/", pathNot: "[.]test[.]ts$" },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg"] },
    },
    {
      name: "host-knows-no-cli",
      severity: "error",
      from: { path: "^packages/host/" },
      to: { path: "^packages/(cli|sdk)/" },
    },
    only("os", []),
    only("template", []),
    only("image", []),
    only("lazy", []),
    only("block", ["image", "lazy"]),
    only("network", []),
    only("guest", []),
    only("vmm", ["guest"]),
    only("build", ["template", "image", "block", "lazy"]),
    only("snapshot", ["block", "guest", "vmm", "build", "template"]),
    only("store", ["lazy", "snapshot", "block", "build", "template"]),
    only("sandbox", [
      "lazy",
      "store",
      "snapshot",
      "block",
      "network",
      "guest",
      "vmm",
      "build",
      "template",
      "image",
    ]),
    only("disk", ["sandbox", "lazy", "snapshot", "vmm", "build", "template"]),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      extensions: [".ts", ".js"],
      conditionNames: ["import", "node", "default"],
      exportsFields: ["exports"],
    },
  },
};
