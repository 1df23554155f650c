// Parts of a record as bytes of a buffer, for records that differ in little from the one before. Hot path: per message.

import type { DigestPort, PreparedRecord } from './event.ts'

const PAYLOAD_LENGTH = Buffer.from(',"payload":{"length":')
const PAYLOAD_HMAC = Buffer.from(',"payload":{"hmac_sha256":"')
const LENGTH = Buffer.from('","length":')
const PACKET_ID = Buffer.from(',"packet_id":')
const SHA256 = Buffer.from(',"sha256":"')
const HASH = Buffer.from(',"hash":"')
const QUOTE = 0x22
const BRACE = 0x7d

/** `,"hash":"`, 64 digits, `"`. */
export const HASH_MEMBER_BYTES = 74
/** An entry of a batch is not longer. */
export const ENTRY_BYTES = 192

/** The member `payload` without its closing brace; returns where it ends. */
export function writePayload(
  target: Buffer,
  at: number,
  length: number,
  name: DigestPort['name'] | undefined,
  digest: string,
): number {
  const isKeyed = name === 'hmac_sha256'
  const first = isKeyed ? PAYLOAD_HMAC : PAYLOAD_LENGTH
  target.set(first, at)
  const end = writeLength(target, at + first.length, length, isKeyed, digest)
  return name === 'sha256' ? writeSha256(target, end, digest) : end
}

/** A comma and an entry of a batch; returns where it ends. */
export function writeEntry(
  target: Buffer,
  at: number,
  { model, digest: name }: PreparedRecord,
  length: number,
  digest: string,
  packetId: number,
): number {
  target.set(model.as, at)
  let end = writeLength(target, at + model.as.length, length, name === 'hmac_sha256', digest)
  if (packetId > 0) {
    target.set(PACKET_ID, end)
    end = writeInteger(target, end + PACKET_ID.length, packetId)
  }
  if (name === 'sha256') end = writeSha256(target, end, digest)
  target[end] = BRACE
  return end + 1
}

/** The value of `length`; of `hmac_sha256` without its first quote, and `length`, where that comes before. */
function writeLength(target: Buffer, at: number, length: number, isKeyed: boolean, digest: string): number {
  if (!isKeyed) return writeInteger(target, at, length)
  const end = at + target.write(digest, at, 'latin1')
  target.set(LENGTH, end)
  return writeInteger(target, end + LENGTH.length, length)
}

function writeSha256(target: Buffer, at: number, digest: string): number {
  target.set(SHA256, at)
  const end = at + SHA256.length
  target.write(digest, end, 'latin1')
  target[end + digest.length] = QUOTE
  return end + digest.length + 1
}

/** Puts the member `hash` in at `at`, before what goes on to `end`; returns where that ends now. */
export function writeHash(target: Buffer, at: number, end: number, hash: string): number {
  target.copyWithin(at + HASH_MEMBER_BYTES, at, end)
  target.set(HASH, at)
  target.write(hash, at + HASH.length, 'latin1')
  target[at + HASH_MEMBER_BYTES - 1] = QUOTE
  return end + HASH_MEMBER_BYTES
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
