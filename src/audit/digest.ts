// Digests that stand in records for payloads, Correlation Data and, by option, humans. A plain digest of a short or
// guessable payload can be guessed; a keyed one (HMAC-SHA-256) cannot without the key. AUD-03; design.md 6.

import { createHash, createHmac, hash } from 'node:crypto'
import type { DigestPort } from './event.ts'

/** @param key gives the key in force; undefined: plain SHA-256 */
export function payloadDigest(key: (() => Buffer) | undefined): DigestPort {
  if (key === undefined) {
    return {
      name: 'sha256',
      of: (bytes) => hash('sha256', bytes, 'hex'),
      begin: () => createHash('sha256'),
    }
  }
  return {
    name: 'hmac_sha256',
    of: (bytes) => createHmac('sha256', key()).update(bytes).digest('hex'),
    begin: () => createHmac('sha256', key()),
  }
}

/** `hmac:` and the hex HMAC of `subject`, issuer and name, joined by NUL: the same for the same human, in every log. */
export function pseudonym(key: Buffer, issuer: string, name: string): string {
  return `hmac:${createHmac('sha256', key).update(`subject\0${issuer}\0${name}`).digest('hex')}`
}

/** Names a key in records without telling anything of it: 16 hex digits. */
export function digestKeyId(key: Buffer): string {
  return createHmac('sha256', key).update('key id').digest('hex').slice(0, 16)
}
