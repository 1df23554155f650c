// The method `ace` of RFC 9431 (MQTT-TLS profile of ACE, §2.2.4): what its Authentication Data holds, and whether the
// client has proved to hold the key of its token. Judges bytes only; the token itself is verified elsewhere.

import { createHmac, type KeyObject, timingSafeEqual, verify } from 'node:crypto'

export const ACE_METHOD = 'ace'
/** Label of the TLS exporter value that is signed (RFC 9431 §2.2.4.1). */
export const ACE_EXPORTER_LABEL = 'EXPORTER-ACE-MQTT-Sign-Challenge'
/** Of the broker's and of the client's nonce. */
export const ACE_NONCE_BYTES = 8

const LENGTH_BYTES = 2
const ED25519_BYTES = 64
const HS256_BYTES = 32

/** The key that a token is bound to, with the one algorithm it is for. */
export interface PopKey {
  alg: 'Ed25519' | 'HS256'
  key: KeyObject
  /** RFC 7638. */
  thumbprint: string
}

/** Authentication Data of CONNECT, or of AUTH 0x19. */
export interface AceData {
  token: Buffer
  /** Over the TLS exporter value; empty: the client wants a challenge. */
  proof: Buffer
}

/** @returns undefined unless it is a token with its length in two bytes before it, and what is left */
export function readAceData(data: Buffer): AceData | undefined {
  if (data.length < LENGTH_BYTES) return undefined
  const end = LENGTH_BYTES + data.readUInt16BE(0)
  if (end === LENGTH_BYTES || end > data.length) return undefined
  return { token: data.subarray(LENGTH_BYTES, end), proof: data.subarray(end) }
}

/** Whether `proof` is the MAC or signature of the key over `content`. */
export function provesKey({ alg, key }: PopKey, proof: Buffer, content: Buffer): boolean {
  if (alg === 'Ed25519') return proof.length === ED25519_BYTES && verify(null, content, key, proof)
  return (
    proof.length === HS256_BYTES && timingSafeEqual(createHmac('sha256', key).update(content).digest(), proof)
  )
}

/**
 * Whether the answer to a challenge proves the key.
 *
 * @param nonce of the broker
 * @param answer the client's nonce, then MAC or signature over both nonces
 */
export function answersChallenge(key: PopKey, nonce: Buffer, answer: Buffer): boolean {
  const clientNonce = answer.subarray(0, ACE_NONCE_BYTES)
  return provesKey(key, answer.subarray(ACE_NONCE_BYTES), Buffer.concat([nonce, clientNonce]))
}
