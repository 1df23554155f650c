// The token endpoint: one request to one answer. Who asks, what they show, whether it was shown before, what it permits;
// then an access token (RFC 9068) that names the human as `sub` and the agent as `act`, on disk in the audit log before
// it leaves. RFC 6749 §4.5, RFC 7523 §2.1. Never rejects, and never a refresh token.

import { createHash, randomUUID } from 'node:crypto'
import type { JWTPayload } from 'jose'
import type { AuditEvent, AuditIdentity, AuditSink } from '../audit/event.ts'
import type { Clock } from '../clock.ts'
import type { StsConfig } from '../config/sts-config.ts'
import { AttemptLimiter, addressKey } from '../identity/attempt-limiter.ts'
import type { Logger } from '../telemetry/logger.ts'
import { authenticateClient, findCredential, type StsClient } from './client-auth.ts'
import { readForm } from './form.ts'
import { type IdJag, type Provider, readIdJag } from './id-jag.ts'
import { type Refusal, refusalRow } from './refusal.ts'
import { narrowScope, scopeClaim } from './scopes.ts'
import type { SigningKeys } from './signing-keys.ts'
import type { UsedAssertions } from './used-assertions.ts'

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

export interface TokenRequest {
  authorization: string | undefined
  contentType: string | undefined
  body: Buffer
  /** Address without port; any fixed text for a Unix socket. */
  peer: string
}

export interface TokenAnswer {
  status: number
  body: Readonly<Record<string, unknown>>
  headers: Readonly<Record<string, string>>
}

export interface EndpointParts {
  config: StsConfig
  clock: Clock
  logger: Logger
  audit: AuditSink
  keys: SigningKeys
  used: UsedAssertions
  /** By `client_id`. */
  clients: ReadonlyMap<string, StsClient>
  /** By issuer. */
  providers: ReadonlyMap<string, Provider>
}

/** RFC 6749 §5.1. */
const NEVER_STORED = { 'cache-control': 'no-store', pragma: 'no-cache' }
/** Longest assertion, of a grant or of a client. */
const ASSERTION_BYTES = 8 * 1024
/** Would narrow the token in ways that this server does not know: left unread, the token would be wider than asked for. */
const UNSUPPORTED = ['authorization_details', 'audience', 'requested_token_type']

/** What is known of a request so far, for its record. */
interface Progress {
  peer: string
  client?: StsClient
  /** The configured provider whose assertion it is. */
  provider?: string
  jag?: IdJag
}

export class TokenEndpoint {
  readonly #parts: EndpointParts
  readonly #limiter: AttemptLimiter

  constructor(parts: EndpointParts) {
    this.#parts = parts
    const { failedTries, failedTriesWindow } = parts.config.limits
    this.#limiter = new AttemptLimiter(failedTries, failedTriesWindow, parts.clock)
  }

  async answer(request: TokenRequest): Promise<TokenAnswer> {
    const progress: Progress = { peer: request.peer }
    const form = readForm(request.contentType, request.body)
    const named = form.ok ? this.#nameOf(request, form.values) : ''
    const keys = [`address ${addressKey(request.peer)} ${named}`]
    if (this.#isBlocked(keys)) return this.#refuse('rate_limited', progress)
    if (!form.ok) return this.#failed(form.reason, progress, keys)

    const authenticated = await this.#authenticate(request, form.values)
    if (!authenticated.ok) return this.#failed(authenticated.reason, progress, keys)
    const { client } = authenticated
    progress.client = client
    // From here on failures are its own, wherever they come from, and no one else's.
    const own = [`client ${client.config.id}`]
    if (this.#isBlocked(own)) return this.#refuse('rate_limited', progress)
    const issued = await this.#issue(form.values, client, progress)
    return typeof issued === 'string' ? this.#failed(issued, progress, own) : issued
  }

  /** A configured client that the request names; others share one allowance. */
  #nameOf(request: TokenRequest, form: ReadonlyMap<string, string>): string {
    const shown = findCredential(request.authorization, form, ASSERTION_BYTES)
    return shown.method !== 'none' && this.#parts.clients.has(shown.clientId) ? shown.clientId : ''
  }

  async #authenticate(
    request: TokenRequest,
    form: ReadonlyMap<string, string>,
  ): Promise<{ ok: true; client: StsClient } | { ok: false; reason: Refusal }> {
    const { clients, config, clock, used } = this.#parts
    const shown = findCredential(request.authorization, form, ASSERTION_BYTES)
    if (shown.method === 'none') return { ok: false, reason: shown.reason }
    const found = await authenticateClient(shown, clients, config.issuer, ASSERTION_BYTES, clock.now())
    if (!found.ok || found.once === undefined) return found
    const { jti, endsAtMs } = found.once
    const isFirst = await this.#take(() => used.take('client', found.client.config.id, jti, endsAtMs))
    if (isFirst === true) return found
    return { ok: false, reason: isFirst === false ? 'client_assertion_replayed' : isFirst }
  }

  async #issue(
    form: ReadonlyMap<string, string>,
    { config: client }: StsClient,
    progress: Progress,
  ): Promise<TokenAnswer | Refusal> {
    const { config, clock, providers, used, audit } = this.#parts
    const grant = form.get('grant_type')
    if (grant === undefined) return 'missing_parameter'
    if (grant !== JWT_BEARER) return 'unsupported_grant_type'
    const assertion = form.get('assertion')
    if (assertion === undefined) return 'missing_parameter'
    if (UNSUPPORTED.some((name) => form.has(name))) return 'unsupported_parameter'
    const resource = config.token.audience
    if ((form.get('resource') ?? resource) !== resource) return 'wrong_resource'

    const rules = { issuer: config.issuer, resource, client, maxBytes: ASSERTION_BYTES }
    const jag = await readIdJag(assertion, rules, providers, clock.now())
    if (!jag.ok) {
      if (jag.issuer !== undefined) progress.provider = jag.issuer
      return jag.reason
    }
    progress.provider = jag.issuer
    progress.jag = jag
    const scope = narrowScope(client.scopes, jag.scope, form.get('scope'))
    if (!scope.ok) return scope.reason
    if (!audit.accepting) return 'audit_unavailable'
    const isFirst = await this.#take(() => used.take('grant', jag.issuer, jag.jti, jag.endsAtMs))
    if (isFirst !== true) return isFirst === false ? 'replayed' : isFirst
    return this.#mint(jag, scope.names, progress)
  }

  async #mint(jag: IdJag, scopes: readonly string[], progress: Progress): Promise<TokenAnswer | Refusal> {
    const { config, clock, keys, audit } = this.#parts
    const { id, agent } = progress.client!.config
    const iat = Math.floor(clock.now() / 1000)
    const lifetimeS = Math.floor(config.token.lifetime / 1000)
    const claims = {
      iss: config.issuer,
      aud: config.token.audience,
      sub: jag.subject,
      act: agent,
      client_id: id,
      iat,
      exp: iat + lifetimeS,
      jti: randomUUID(),
      ...present('org_id', jag.tenant),
      ...present('scope', scopeClaim(scopes, config.scopes)),
      ...present('authorization_details', jag.authorizationDetails),
      ...present('txn', jag.txn),
    } satisfies JWTPayload
    const kid = keys.kid
    const token = await keys.sign(claims)
    audit.append({
      ...this.#record(progress),
      decision: 'allow',
      reason: 'ok',
      effect: 'issued',
      identity: {
        ...this.#identity(progress),
        token: {
          iss: claims.iss,
          jti: claims.jti,
          sha256: createHash('sha256').update(token).digest('hex'),
          kid,
          exp: new Date(claims.exp * 1000).toISOString(),
        },
      },
    })
    if (!audit.commit()) return 'audit_unavailable'
    const body = {
      access_token: token,
      token_type: 'Bearer',
      expires_in: lifetimeS,
      ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
    }
    return { status: 200, body, headers: NEVER_STORED }
  }

  /** Whether it is the first use, or why that cannot be known. */
  async #take(take: () => Promise<boolean>): Promise<boolean | 'replay_unavailable'> {
    try {
      return await take()
    } catch (error) {
      this.#parts.logger.error({ err: error }, 'used assertions cannot be kept')
      return 'replay_unavailable'
    }
  }

  #isBlocked(keys: readonly string[]): boolean {
    return keys.some((key) => this.#limiter.isBlocked(key))
  }

  #failed(reason: Refusal, progress: Progress, keys: readonly string[]): TokenAnswer {
    if (refusalRow(reason).counts) for (const key of keys) this.#limiter.countFailure(key)
    return this.#refuse(reason, progress)
  }

  #refuse(reason: Refusal, progress: Progress): TokenAnswer {
    const { error, status, description } = refusalRow(reason)
    const { audit, config, logger } = this.#parts
    const client = progress.client?.config.id
    // The tries that led to it are recorded; whoever goes on must not fill the disk.
    if (reason !== 'rate_limited') {
      audit.append({
        ...this.#record(progress),
        decision: 'deny',
        reason,
        effect: `${status} ${error}`,
        identity: this.#identity(progress),
      })
      logger.info({ client, provider: progress.provider, reason, status }, 'no token issued')
    }
    const retry =
      status === 429 ? { 'retry-after': String(Math.ceil(config.limits.failedTriesWindow / 1000)) } : {}
    return {
      status,
      body: { error, error_description: description },
      headers: {
        ...NEVER_STORED,
        ...(status === 401 ? { 'www-authenticate': 'Basic realm="token", charset="UTF-8"' } : {}),
        ...retry,
      },
    }
  }

  #record({ peer, client, provider, jag }: Progress): Pick<AuditEvent, 'action' | 'connection' | 'cause'> {
    const cause = {
      source: 'token_endpoint',
      ...present('client_id', client?.config.id),
      ...present('assertion_iss', provider),
      ...present('assertion_jti', jag?.jti),
    }
    return { action: 'token', connection: { id: randomUUID(), peer }, cause }
  }

  /** Who acts for whom, as far as it is known: the names that the token has, or would have had. */
  #identity({ client, jag }: Progress): AuditIdentity {
    const { issuer } = this.#parts.config
    const agent = client?.config.agent
    return {
      ...(agent === undefined ? {} : { agent: { ...agent, id: agent.sub } }),
      ...(jag === undefined
        ? {}
        : { human: { iss: issuer, sub: jag.subject, id: jag.subject, via: 'delegation' } }),
      ...present('tenant', jag?.tenant),
    }
  }
}

function present<const K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: V }
}
