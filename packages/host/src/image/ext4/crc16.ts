/** CRC-16/ARC (polynomial 0x8005, reflected) of `bytes`, continued from `crc`: what ext4 seals group descriptors with. */
export function crc16(crc: number, bytes: Uint8Array): number {
  let value = crc;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xa001 : value >>> 1;
  }
  return value;
}
