// A sandbox, a command in it, its output. Run: node examples/typescript/quickstart.ts
import { KilnClient } from "@kiln/sdk";

const client = new KilnClient();
await using sandbox = await client.sandbox({ image: "python", memoryMib: 512 });
const result = await sandbox.exec(["python3", "-c", "print(6 * 7)"]);
console.log(result.stdout.trim(), "exit code", result.exitCode);
