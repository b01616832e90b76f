import type { Command } from "commander";

/** A command of the CLI: its file is loaded when it is asked for, so that no command pays for another. */
export interface CommandEntry {
  name: string;
  load: () => Promise<(program: Command) => void>;
}

/** Every command, in the order the help lists them. */
export const COMMANDS: readonly CommandEntry[] = [
  { name: "run", load: async () => (await import("./commands/run.ts")).addRun },
  { name: "create", load: async () => (await import("./commands/create.ts")).addCreate },
  { name: "ls", load: async () => (await import("./commands/ls.ts")).addLs },
  { name: "exec", load: async () => (await import("./commands/exec.ts")).addExec },
  { name: "ps", load: async () => (await import("./commands/ps.ts")).addPs },
  { name: "attach", load: async () => (await import("./commands/attach.ts")).addAttach },
  { name: "logs", load: async () => (await import("./commands/logs.ts")).addLogs },
  { name: "cp", load: async () => (await import("./commands/cp.ts")).addCp },
  { name: "pause", load: async () => (await import("./commands/pause.ts")).addPause },
  { name: "resume", load: async () => (await import("./commands/resume.ts")).addResume },
  { name: "fork", load: async () => (await import("./commands/fork.ts")).addFork },
  { name: "snapshot", load: async () => (await import("./commands/snapshot.ts")).addSnapshot },
  { name: "kill", load: async () => (await import("./commands/kill.ts")).addKill },
  { name: "port-forward", load: async () => (await import("./commands/port-forward.ts")).addPortForward },
  { name: "stats", load: async () => (await import("./commands/stats.ts")).addStats },
  { name: "top", load: async () => (await import("./commands/top.ts")).addTop },
  { name: "template", load: async () => (await import("./commands/template.ts")).addTemplate },
  { name: "store", load: async () => (await import("./commands/store.ts")).addStore },
  { name: "build", load: async () => (await import("./commands/build.ts")).addBuild },
  { name: "du", load: async () => (await import("./commands/du.ts")).addDu },
  { name: "gc", load: async () => (await import("./commands/gc.ts")).addGc },
  { name: "serve", load: async () => (await import("./commands/serve.ts")).addServe },
  { name: "token", load: async () => (await import("./commands/token.ts")).addToken },
  { name: "nbd", load: async () => (await import("./commands/nbd.ts")).addNbd },
  { name: "doctor", load: async () => (await import("./commands/doctor.ts")).addDoctor },
  { name: "completion", load: async () => (await import("./commands/completion.ts")).addCompletion },
];
