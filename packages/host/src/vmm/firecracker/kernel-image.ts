import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { gunzip, zstdDecompress } from "node:zlib";
import { KilnError } from "../../errors.ts";
import { writeFileAtomic } from "../../os/atomic-file.ts";
import { decodeLz4Legacy, LZ4_LEGACY_MAGIC } from "./lz4.ts";

/** Offsets in the header of a bzImage (Linux, Documentation/arch/x86/boot.rst). */
const HEADER = { setupSectors: 0x1f1, magic: 0x202, payloadOffset: 0x248, payloadLength: 0x24c } as const;
const HEADER_MAGIC = "HdrS";
const SECTOR_BYTES = 512;
/** The build appends the length of what it has compressed. */
const TRAILER_BYTES = 4;
const ELF_MAGIC = 0x7f454c46;
const GZIP_MAGIC = 0x1f8b;
const ZSTD_MAGIC = 0x28b52ffd;

/**
 * The kernel as Firecracker takes it, which is not as distributions ship it: uncompressed. Made once, beside the
 * folder of the kernel it is made of: what is in that is sent to stores.
 * @throws KilnError `HOST_UNSUPPORTED` for a kernel compressed in another way.
 */
export async function ensureVmlinux(vmlinuz: string): Promise<string> {
  const path = `${dirname(vmlinuz)}.vmlinux`;
  if (await stat(path).catch(() => undefined)) return path;
  await writeFileAtomic(path, await extractKernel(await readFile(vmlinuz)));
  return path;
}

/** The ELF file in a bzImage. */
export async function extractKernel(image: Buffer): Promise<Buffer> {
  if (image.length > 4 && image.readUInt32BE(0) === ELF_MAGIC) return image;
  if (
    image.length < HEADER.payloadLength + 4 ||
    image.toString("latin1", HEADER.magic, HEADER.magic + 4) !== HEADER_MAGIC
  ) {
    throw unsupported("it is not a bzImage");
  }
  // 0 stands for 4.
  const setup = ((image[HEADER.setupSectors] || 4) + 1) * SECTOR_BYTES;
  const start = setup + image.readUInt32LE(HEADER.payloadOffset);
  const payload = image.subarray(start, start + image.readUInt32LE(HEADER.payloadLength) - TRAILER_BYTES);
  if (payload.length < 4) throw unsupported("it is cut off");
  const kernel = await decompress(payload);
  if (kernel.length < 4 || kernel.readUInt32BE(0) !== ELF_MAGIC)
    throw unsupported("there is no ELF file in it");
  return kernel;
}

async function decompress(payload: Buffer): Promise<Buffer> {
  if (payload.readUInt16BE(0) === GZIP_MAGIC) return promisify(gunzip)(payload);
  if (payload.readUInt32BE(0) === ZSTD_MAGIC) return promisify(zstdDecompress)(payload);
  if (payload.readUInt32LE(0) === LZ4_LEGACY_MAGIC) return decodeLz4Legacy(payload);
  throw unsupported(`its compression is not known: ${payload.toString("hex", 0, 4)}`);
}

const unsupported = (why: string) =>
  new KilnError("HOST_UNSUPPORTED", `the guest kernel cannot be unpacked for Firecracker: ${why}`);
