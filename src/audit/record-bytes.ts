// Parts of a record as bytes of a buffer, for records that differ in little from the one before. Hot path: per message.

import type { PayloadDigest } from './event.ts'

const PAYLOAD_LENGTH = Buffer.from(',"payload":{"length":')
const SHA256 = Buffer.from(',"sha256":"')
const QUOTE = 0x22

/** The member `payload` without its closing brace; returns where it ends. */
export function writePayload(
  target: Buffer,
  at: number,
  length: number,
  digest: PayloadDigest | undefined,
): number {
  if (digest?.name === 'hmac_sha256') {
    const end = at + target.write(`,"payload":{"hmac_sha256":"${digest.hex}","length":`, at, 'latin1')
    return writeInteger(target, end, length)
  }
  target.set(PAYLOAD_LENGTH, at)
  let end = writeInteger(target, at + PAYLOAD_LENGTH.length, length)
  if (digest === undefined) return end
  target.set(SHA256, end)
  end += SHA256.length
  end += target.write(digest.hex, end, 'latin1')
  target[end] = QUOTE
  return end + 1
}

/** Decimal digits of a non-negative integer; returns where they end. */
export function writeInteger(target: Buffer, at: number, value: number): number {
  let digits = 1
  for (let limit = 10; value >= limit; limit *= 10) digits += 1
  const end = at + digits
  let rest = value
  for (let i = end - 1; i >= at; i--) {
    const next = Math.floor(rest / 10)
    target[i] = 0x30 + rest - next * 10
    rest = next
  }
  return end
}
