// One Status List Token: strict reading, signature, and the list in it. draft-ietf-oauth-status-list-21 §4, §5, §8.3.

import { promisify } from 'node:util'
import { inflate } from 'node:zlib'
import { compactVerify } from 'jose'
import { decodeCanonical, parseCompactJws } from './compact-jws.ts'
import type { KeySource } from './key-source.ts'
import { classOf } from './token-type.ts'

const unpack = promisify(inflate)

const CLOCK_SKEW_MS = 60_000
/** Of whatever `ttl` the list says. */
const LONGEST_TTL_MS = 24 * 3_600_000

export interface ListRules {
  /** Where it was fetched, and the `uri` in the tokens: its `sub` must be the same. */
  uri: string
  /** Whose tokens it is about. */
  issuer: string
  algorithms: readonly string[]
  /** Longest token, and longest list once decompressed. */
  maxBytes: number
  maxListBytes: number
}

export interface StatusList {
  bits: 1 | 2 | 4 | 8
  bytes: Buffer
  /** By `exp`, milliseconds since the epoch. */
  expiresAtMs: number
  /** undefined: it does not say. */
  ttlMs: number | undefined
}

/** Never rejects; undefined: it is not to be used, and the reason makes no difference to anybody but its issuer. */
export async function readStatusList(
  token: string,
  rules: ListRules,
  keys: KeySource,
  nowMs: number,
): Promise<StatusList | undefined> {
  const jws = parseCompactJws(token, rules.maxBytes)
  if (!jws.ok || classOf(jws.header, new Map()) !== 'status_list' || jws.header.has('crit')) return undefined
  const [alg, kid] = [jws.header.get('alg'), jws.header.get('kid')]
  if (typeof alg !== 'string' || !rules.algorithms.includes(alg)) return undefined
  if (kid !== undefined && typeof kid !== 'string') return undefined
  const found = await keys.keyFor(alg, kid)
  if (!found.ok) return undefined
  try {
    await compactVerify(token, found.key.key, { algorithms: [found.key.alg] })
  } catch {
    return undefined
  }
  const { claims } = jws
  const [sub, iss, iat, exp, ttl] = ['sub', 'iss', 'iat', 'exp', 'ttl'].map((name) => claims.get(name))
  if (sub !== rules.uri || (iss !== undefined && iss !== rules.issuer)) return undefined
  if (!isPositive(iat) || iat * 1000 > nowMs + CLOCK_SKEW_MS) return undefined
  if (exp !== undefined && (!isPositive(exp) || exp * 1000 <= nowMs)) return undefined
  if (ttl !== undefined && !isPositive(ttl)) return undefined
  const list = await listIn(claims.get('status_list'), rules.maxListBytes)
  if (list === undefined) return undefined
  return {
    ...list,
    expiresAtMs: exp === undefined ? Number.POSITIVE_INFINITY : exp * 1000,
    ttlMs: ttl === undefined ? undefined : Math.min(ttl * 1000, LONGEST_TTL_MS),
  }
}

/** Status of an index; undefined: the list does not reach so far. Lowest bits of a byte first. */
export function statusAt(
  { bits, bytes }: Pick<StatusList, 'bits' | 'bytes'>,
  index: number,
): number | undefined {
  const perByte = 8 / bits
  const byte = bytes[Math.floor(index / perByte)]
  if (byte === undefined) return undefined
  return (byte >> ((index % perByte) * bits)) & (2 ** bits - 1)
}

/** The reference in a token (`status.status_list`); undefined: it has none; `bad`: one that cannot be read. */
export function referenceIn(
  claims: ReadonlyMap<string, unknown>,
): { uri: string; index: number } | 'bad' | undefined {
  if (!claims.has('status')) return undefined
  const status = membersOf(claims.get('status'))
  if (status === undefined) return 'bad'
  if (!status.has('status_list')) return undefined
  const list = membersOf(status.get('status_list'))
  const [uri, index] = [list?.get('uri'), list?.get('idx')]
  return typeof uri === 'string' && Number.isSafeInteger(index) && (index as number) >= 0
    ? { uri, index: index as number }
    : 'bad'
}

async function listIn(
  value: unknown,
  maxListBytes: number,
): Promise<Pick<StatusList, 'bits' | 'bytes'> | undefined> {
  const members = membersOf(value)
  const [bits, lst] = [members?.get('bits'), members?.get('lst')]
  if ((bits !== 1 && bits !== 2 && bits !== 4 && bits !== 8) || typeof lst !== 'string') return undefined
  const packed = decodeCanonical(lst)
  if (packed === undefined) return undefined
  try {
    return { bits, bytes: await unpack(packed, { maxOutputLength: maxListBytes }) }
  } catch {
    return undefined
  }
}

function membersOf(value: unknown): ReadonlyMap<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? new Map(Object.entries(value))
    : undefined
}

function isPositive(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0
}
