/** One report of a stage of long work. `stage` identifies it; a stage starts once and ends once. */
export interface ProgressEvent {
  /** Short noun phrase, stable during the stage: `"image python"`, `"kernel"`. */
  stage: string;
  status: "start" | "update" | "done" | "failed";
  /** What is happening inside the stage just now, one line. */
  message?: string;
  /** Done so far, 0 to 1, where it is known. */
  fraction?: number;
  /** Duration of the stage in milliseconds, with `done` and `failed`. */
  ms?: number;
}

export type OnProgress = (event: ProgressEvent) => void;

/** Runs `work` as one stage: reports its start, its end and how long it took. */
export async function runStage<T>(
  onProgress: OnProgress | undefined,
  stage: string,
  work: (update: (message: string, fraction?: number) => void) => Promise<T>,
): Promise<T> {
  const started = performance.now();
  const elapsed = () => Math.round(performance.now() - started);
  onProgress?.({ stage, status: "start" });
  try {
    const result = await work((message, fraction) =>
      onProgress?.({ stage, status: "update", message, ...(fraction === undefined ? {} : { fraction }) }),
    );
    onProgress?.({ stage, status: "done", ms: elapsed() });
    return result;
  } catch (error) {
    onProgress?.({ stage, status: "failed", ms: elapsed() });
    throw error;
  }
}
