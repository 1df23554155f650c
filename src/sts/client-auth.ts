// Who asks: client authentication by `private_key_jwt` (RFC 7523 §3, with the one audience of rfc7523bis),
// `client_secret_basic` or `client_secret_post` (RFC 6749 §2.3.1). A client has one of secret and key, never both.

import { createHash, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { StsClientConfig } from '../config/sts-config.ts'
import { PosternError } from '../errors.ts'
import { parseCompactJws } from '../identity/compact-jws.ts'
import type { KeySource } from '../identity/key-source.ts'
import { verifyAssertion } from './assertion.ts'
import { decodeFormPart } from './form.ts'
import type { Refusal } from './refusal.ts'

export const CLIENT_ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

export const CLIENT_AUTH_METHODS = ['private_key_jwt', 'client_secret_basic', 'client_secret_post'] as const

/** Shortest secret, characters. */
const SHORTEST_SECRET = 32
/** Secrets of one client at a time: the new one, and the former while it changes. */
const MOST_SECRETS = 2
const LONGEST_ASSERTION_MS = 5 * 60_000
const LEEWAY_MS = 30_000
/** `typ` of assertions that authenticate a client; none is the usual one. Others are another kind of token. */
const ASSERTION_TYPES: readonly unknown[] = [undefined, 'JWT', 'client-authentication+jwt']

/** A configured client with what it authenticates by. */
export interface StsClient {
  config: StsClientConfig
  /** SHA-256 of each secret that counts. */
  secrets: readonly Buffer[]
  keys: KeySource | undefined
}

/** What a request shows. `clientId` is who it says it is: not trusted. */
export type ShownCredential =
  | { method: 'secret'; clientId: string; secret: string }
  | { method: 'assertion'; clientId: string; assertion: string }

export type Authenticated =
  | {
      ok: true
      client: StsClient
      /** Of the assertion, which is good for one use; undefined with a secret. */
      once: { jti: string; endsAtMs: number } | undefined
    }
  | { ok: false; reason: Refusal }

/** Finds the one credential of a request; nothing is verified. */
export function findCredential(
  authorization: string | undefined,
  form: ReadonlyMap<string, string>,
  maxBytes: number,
): ShownCredential | { method: 'none'; reason: Refusal } {
  const named = form.get('client_id')
  const secret = form.get('client_secret')
  const [assertion, type] = [form.get('client_assertion'), form.get('client_assertion_type')]
  const shown = [authorization, secret, assertion ?? type].filter((one) => one !== undefined)
  if (shown.length > 1) return { method: 'none', reason: 'two_credentials' }
  if (assertion !== undefined || type !== undefined) {
    if (assertion === undefined || type !== CLIENT_ASSERTION_TYPE) {
      return { method: 'none', reason: 'malformed_request' }
    }
    const jws = parseCompactJws(assertion, maxBytes)
    const sub = jws.ok ? jws.claims.get('sub') : undefined
    if (typeof sub !== 'string') return { method: 'none', reason: 'bad_client_assertion' }
    return named !== undefined && named !== sub
      ? { method: 'none', reason: 'malformed_request' }
      : { method: 'assertion', clientId: sub, assertion }
  }
  if (authorization !== undefined) {
    const basic = readBasic(authorization)
    if (basic === undefined) return { method: 'none', reason: 'no_credential' }
    return named !== undefined && named !== basic.clientId
      ? { method: 'none', reason: 'malformed_request' }
      : { method: 'secret', ...basic }
  }
  if (named === undefined || secret === undefined) return { method: 'none', reason: 'no_credential' }
  return { method: 'secret', clientId: named, secret }
}

/**
 * Never rejects.
 *
 * @param issuer identifier of this server, which an assertion must name as its only audience
 */
export async function authenticateClient(
  shown: ShownCredential,
  clients: ReadonlyMap<string, StsClient>,
  issuer: string,
  maxBytes: number,
  nowMs: number,
): Promise<Authenticated> {
  const client = clients.get(shown.clientId)
  if (shown.method === 'secret') {
    const given = digestOf(shown.secret)
    // Compared with every secret, and with one more where there is none: time tells neither which nor whether.
    const known = client?.secrets ?? []
    const fits = [...known, NO_SECRET].map((digest) => timingSafeEqual(digest, given))
    if (client === undefined) return { ok: false, reason: 'unknown_client' }
    if (known.length === 0) return { ok: false, reason: 'wrong_method' }
    return fits.slice(0, -1).includes(true)
      ? { ok: true, client, once: undefined }
      : { ok: false, reason: 'wrong_secret' }
  }
  if (client === undefined) return { ok: false, reason: 'unknown_client' }
  if (client.keys === undefined) return { ok: false, reason: 'wrong_method' }
  const jws = parseCompactJws(shown.assertion, maxBytes)
  const bad = { ok: false, reason: 'bad_client_assertion' } as const
  if (!jws.ok || !ASSERTION_TYPES.includes(jws.header.get('typ'))) return bad
  if (jws.claims.get('iss') !== client.config.id || jws.claims.get('sub') !== client.config.id) return bad
  const rules = {
    issuer: client.config.id,
    audience: issuer,
    algorithms: client.config.algorithms,
    maxLifetime: LONGEST_ASSERTION_MS,
    leeway: LEEWAY_MS,
    requireClientId: false,
  }
  const verified = await verifyAssertion(jws, rules, client.keys, nowMs)
  if (!verified.ok) return verified.reason === 'keys_unavailable' ? verified : bad
  const { jti, expiresAtMs } = verified.registered
  return { ok: true, client, once: { jti, endsAtMs: expiresAtMs + LEEWAY_MS } }
}

/** The secrets in a file, one a line. @throws PosternError `ERR_STS_CLIENT` */
export async function readSecrets(file: string): Promise<Buffer[]> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw unusable(file, `it cannot be read (${cause.code})`, cause)
  })
  const secrets = text.split(/\r?\n/).filter((line) => line !== '')
  const isGood = secrets.every((secret) => secret.length >= SHORTEST_SECRET && !/\s/.test(secret))
  if (!isGood || secrets.length === 0 || secrets.length > MOST_SECRETS) {
    throw unusable(
      file,
      `write one secret of at least ${SHORTEST_SECRET} characters without blanks; two lines while it changes`,
    )
  }
  return secrets.map(digestOf)
}

const NO_SECRET = Buffer.alloc(32)

function digestOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/** RFC 7617, each part encoded like a form (RFC 6749 §2.3.1). */
function readBasic(authorization: string): { clientId: string; secret: string } | undefined {
  const match = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization)
  if (match === null) return undefined
  const text = Buffer.from(match[1]!, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  const clientId = decodeFormPart(text.slice(0, Math.max(0, colon)))
  const secret = decodeFormPart(text.slice(colon + 1))
  return clientId === undefined || clientId === '' || secret === undefined ? undefined : { clientId, secret }
}

function unusable(file: string, why: string, cause?: unknown): PosternError {
  return new PosternError('ERR_STS_CLIENT', 'internal', `secret file ${file} cannot be used: ${why}`, {
    cause,
  })
}
