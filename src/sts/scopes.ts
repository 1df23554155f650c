// Which scopes a token gets: what the assertion grants, within what the client may have, narrowed by what was asked for.
// Never more than any of the three. The token carries what they permit, as AIF (RFC 9237, RFC 9431 §3.1).

import type { StsConfig } from '../config/sts-config.ts'
import type { Refusal } from './refusal.ts'

export type NarrowedScope = { ok: true; names: readonly string[] } | { ok: false; reason: Refusal }

/**
 * @param allowed of the client; empty: its tokens carry no scope
 * @param granted `scope` of the assertion; undefined: the provider leaves it to `allowed`
 * @param asked `scope` of the request
 * @returns the names, in the order of `allowed`
 */
export function narrowScope(
  allowed: readonly string[],
  granted: string | undefined,
  asked: string | undefined,
): NarrowedScope {
  const grantedNames = granted?.split(' ')
  const names = grantedNames === undefined ? allowed : allowed.filter((name) => grantedNames.includes(name))
  // An assertion that limits the agent never becomes a token without a limit.
  if (granted !== undefined && names.length === 0) return { ok: false, reason: 'scope_not_allowed' }
  if (asked === undefined) return { ok: true, names }
  const askedNames = asked.split(' ')
  if (!askedNames.every((name) => names.includes(name))) return { ok: false, reason: 'scope_exceeded' }
  return { ok: true, names: names.filter((name) => askedNames.includes(name)) }
}

/** The `scope` claim for these names; undefined without any. */
export function scopeClaim(names: readonly string[], scopes: StsConfig['scopes']): string | undefined {
  if (names.length === 0) return undefined
  const entries = names.flatMap((name) => scopes[name]!)
  return Buffer.from(JSON.stringify(entries)).toString('base64url')
}
