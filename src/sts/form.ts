// The body of a request to the token endpoint: `application/x-www-form-urlencoded`, each name once. RFC 6749 §3.2, App. B.

import type { Refusal } from './refusal.ts'

export type Form = { ok: true; values: ReadonlyMap<string, string> } | { ok: false; reason: Refusal }

const FORM_TYPE = /^application\/x-www-form-urlencoded\s*(?:;|$)/i

/** A value without characters counts as absent, as RFC 6749 §3.2 has it. */
export function readForm(contentType: string | undefined, body: Buffer): Form {
  if (contentType === undefined || !FORM_TYPE.test(contentType))
    return { ok: false, reason: 'malformed_request' }
  const values = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(body.toString('latin1'))) {
    if (value === '') continue
    if (values.has(name)) return { ok: false, reason: 'duplicate_parameter' }
    values.set(name, value)
  }
  return { ok: true, values }
}

/** One part of HTTP Basic credentials, which RFC 6749 §2.3.1 has encoded like a form. undefined: it is not. */
export function decodeFormPart(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}
