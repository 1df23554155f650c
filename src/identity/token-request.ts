// One request to a token endpoint, as an OAuth client: `jwt-bearer` (RFC 7523 §2.1) or `client_credentials` (RFC 6749
// §4.4). Bounded in time and size, no redirects. Secrets and assertions are read from their files at every request.

import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { importJWK, type JWK, SignJWT } from 'jose'
import { Agent, request } from 'undici'
import type { Clock } from '../clock.ts'
import type { TokenEndpointConfig } from '../config/credential-config.ts'
import { tokenText } from './credential.ts'

/** Why there is no token. A closed set. */
export const TOKEN_REQUEST_FAILURES = [
  'unreadable_file',
  'bad_client_key',
  'unreachable',
  'timeout',
  'refused',
  'bad_answer',
  'too_large',
] as const

export type TokenAnswer =
  | { ok: true; token: string }
  | {
      ok: false
      reason: (typeof TOKEN_REQUEST_FAILURES)[number]
      /** With `refused`: status and OAuth error code. */
      detail?: string
    }

const MOST_BYTES = 64 * 1024
/** How long what we sign is good. */
const ASSERTION_S = 60
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const JSON_TYPE = /^application\/json\s*(?:;|$)/i

/** A failure that is an answer; never leaves this file. */
class RequestFailure extends Error {
  readonly answer: TokenAnswer
  constructor(answer: TokenAnswer) {
    super('no token')
    this.answer = answer
  }
}

export class TokenRequester {
  readonly #config: TokenEndpointConfig
  readonly #clock: Clock
  #agent: Agent | undefined

  constructor(config: TokenEndpointConfig, clock: Clock) {
    this.#config = config
    this.#clock = clock
  }

  /** Files that a request reads. */
  get files(): string[] {
    const { assertionFile, clientSecretFile, clientKeyFile, caFile } = this.#config
    return [assertionFile, clientSecretFile, clientKeyFile, caFile].filter((file) => file !== undefined)
  }

  /** Never rejects. */
  async request(): Promise<TokenAnswer> {
    const { url, timeout } = this.#config
    const abort = new AbortController()
    const deadline = this.#clock.after(timeout, () => abort.abort())
    try {
      const { body, headers } = await this.#makeRequest()
      const response = await request(url, {
        method: 'POST',
        dispatcher: await this.#connections(),
        headers: {
          ...headers,
          'content-type': 'application/x-www-form-urlencoded',
          accept: 'application/json',
        },
        body: body.toString(),
        signal: abort.signal,
      })
      const text = await response.body.text()
      return answerIn(response.statusCode, response.headers['content-type'], text)
    } catch (error) {
      if (error instanceof RequestFailure) return error.answer
      if (abort.signal.aborted) return { ok: false, reason: 'timeout' }
      const code = (error as { code?: unknown }).code
      if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') return { ok: false, reason: 'too_large' }
      const isTimeout = typeof code === 'string' && code.endsWith('_TIMEOUT')
      return { ok: false, reason: isTimeout ? 'timeout' : 'unreachable' }
    } finally {
      deadline.cancel()
    }
  }

  /** The authorities are read again by the next request. */
  async forgetConnections(): Promise<void> {
    const agent = this.#agent
    this.#agent = undefined
    await agent?.close()
  }

  async close(): Promise<void> {
    await this.#agent?.destroy()
  }

  async #connections(): Promise<Agent> {
    if (this.#agent !== undefined) return this.#agent
    const { caFile, timeout } = this.#config
    const ca = caFile === undefined ? {} : { ca: await readText(caFile) }
    this.#agent = new Agent({
      connections: 1,
      connect: { timeout, ...ca },
      headersTimeout: timeout,
      bodyTimeout: timeout,
      maxResponseSize: MOST_BYTES,
    })
    return this.#agent
  }

  async #makeRequest(): Promise<{ body: URLSearchParams; headers: Record<string, string> }> {
    const { grant, assertionFile, clientId, clientSecretFile, clientKeyFile, scope, resource } = this.#config
    const body = new URLSearchParams({
      grant_type: grant === 'jwt-bearer' ? JWT_BEARER : grant,
      ...(assertionFile === undefined ? {} : { assertion: (await readText(assertionFile)).trim() }),
      ...(scope === undefined ? {} : { scope }),
      ...(resource === undefined ? {} : { resource }),
    })
    if (clientSecretFile !== undefined) {
      const secret = (await readText(clientSecretFile)).split(/\r?\n/, 1)[0]!
      const pair = [clientId, secret].map(encodeURIComponent).join(':')
      return { body, headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` } }
    }
    body.set('client_assertion_type', ASSERTION_TYPE)
    body.set('client_assertion', await this.#clientAssertion(await readText(clientKeyFile!)))
    return { body, headers: {} }
  }

  /** RFC 7523 §3, with the issuer identifier as the one audience, as rfc7523bis wants it. */
  async #clientAssertion(keyText: string): Promise<string> {
    const { clientId, audience } = this.#config
    const now = Math.floor(this.#clock.now() / 1000)
    try {
      const document = JSON.parse(keyText) as JWK & { keys?: JWK[] }
      const jwk = document.keys?.[0] ?? document
      const header = { alg: jwk.alg!, ...(jwk.kid === undefined ? {} : { kid: jwk.kid }) }
      return await new SignJWT({ jti: randomUUID() })
        .setProtectedHeader(header)
        .setIssuer(clientId)
        .setSubject(clientId)
        .setAudience(audience!)
        .setIssuedAt(now)
        .setExpirationTime(now + ASSERTION_S)
        .sign(await importJWK(jwk))
    } catch {
      // Their messages could quote the key.
      throw new RequestFailure({ ok: false, reason: 'bad_client_key' })
    }
  }
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => {
    throw new RequestFailure({ ok: false, reason: 'unreadable_file' })
  })
}

function answerIn(status: number, contentType: unknown, text: string): TokenAnswer {
  let body: { error?: unknown; access_token?: unknown; token_type?: unknown } | null = null
  try {
    if (typeof contentType === 'string' && JSON_TYPE.test(contentType)) body = JSON.parse(text)
  } catch {
    // As below.
  }
  if (status !== 200) {
    const error = body?.error
    const isCode = typeof error === 'string' && /^[a-z_]{1,40}$/.test(error)
    return { ok: false, reason: 'refused', detail: isCode ? `${status} ${error}` : String(status) }
  }
  const token = body?.access_token
  const isBearer = typeof body?.token_type === 'string' && body.token_type.toLowerCase() === 'bearer'
  if (!isBearer || typeof token !== 'string' || tokenText(Buffer.from(token)) === undefined) {
    return { ok: false, reason: 'bad_answer' }
  }
  return { ok: true, token }
}
