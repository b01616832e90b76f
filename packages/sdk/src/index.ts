export { type BuildOptions, Builds, type TemplateSpec } from "./builds.ts";
export { type ClientOptions, KilnClient, type ListOptions, type SandboxOptions } from "./client.ts";
export { type CollectOptions, Disk } from "./disk.ts";
export { DAEMON_ERROR_CODES, type ErrorCode, KilnError } from "./errors.ts";
export { type Content, Files, type ReadOptions, type WriteOptions } from "./files.ts";
export { type ForwardOptions, PortForward, type PortRequest, type PortResponse } from "./ports.ts";
export type { ExecOptions, ExecResult } from "./process/exec.ts";
export type { OutputChannel, OutputEvent } from "./process/output-stream.ts";
export {
  type AttachOptions,
  type ExitStatus,
  SandboxProcess,
  type StartOptions,
  type Terminal,
} from "./process/process.ts";
export { Sandbox, type UpdateOptions } from "./sandbox.ts";
export { Templates } from "./templates.ts";
export type {
  Build,
  BuildEvent,
  CallOptions,
  Collected,
  CollectedPart,
  DiskEntry,
  DiskUsage,
  EngineChoice,
  EngineName,
  ErrorBody,
  FileInfo,
  Info,
  Network,
  ProcessInfo,
  SandboxInfo,
  SandboxState,
  Stats,
  Template,
  WatchEvent,
} from "./types.ts";
