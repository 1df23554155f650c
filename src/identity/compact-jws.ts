// Strict reading of a JWS in compact form, before any key is looked for. Nothing here is authenticated yet.
// RFC 7515 §7.1, RFC 8725 §3, TOK-03, TOK-12.

import { parseObject } from './strict-json.ts'

export interface CompactJws {
  ok: true
  /** The compact form as received. */
  token: string
  header: ReadonlyMap<string, unknown>
  /** Untrusted until the signature is verified. */
  claims: ReadonlyMap<string, unknown>
}

export interface JwsFault {
  ok: false
  reason: 'token_too_large' | 'malformed_token' | 'duplicate_claim'
}

const PART = /^[A-Za-z0-9_-]+$/

/**
 * Takes a compact JWS apart: exactly three non-empty parts of canonical unpadded base64url, header and payload JSON
 * objects without duplicate members. The size is looked at first.
 *
 * @param maxBytes largest accepted length; one character is one byte
 */
export function parseCompactJws(token: string, maxBytes: number): CompactJws | JwsFault {
  if (token.length > maxBytes) return { ok: false, reason: 'token_too_large' }
  const parts = token.split('.', 4)
  if (parts.length !== 3) return { ok: false, reason: 'malformed_token' }
  const [header, payload, signature] = parts.map(decodeCanonical)
  if (header === undefined || payload === undefined || signature === undefined) {
    return { ok: false, reason: 'malformed_token' }
  }
  const headerObject = parseObject(header)
  if (!headerObject.ok) return headerObject
  const payloadObject = parseObject(payload)
  if (!payloadObject.ok) return payloadObject
  return { ok: true, token, header: headerObject.members, claims: payloadObject.members }
}

/** undefined unless `part` is the one canonical form of its bytes: set trailing bits would give a token a second digest. */
export function decodeCanonical(part: string): Buffer | undefined {
  if (!PART.test(part)) return undefined
  const bytes = Buffer.from(part, 'base64url')
  return bytes.toString('base64url') === part ? bytes : undefined
}
