// An identity provider for tests: keys in memory, tokens on demand, a JWKS server on loopback that can misbehave.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JWK } from 'jose'
import type { Clock } from '../../src/clock.ts'
import type { IssuerConfig } from '../../src/config/config.ts'
import {
  agentClaims,
  type DevAlgorithm,
  type DevClaims,
  DevIssuer,
  type MintOptions,
} from '../../src/dev/issuer.ts'

export const TEST_ISSUER = 'https://idp.test'
export const TEST_AUDIENCE = 'postern-test'

/** Settings of an issuer for tests: mode `act`, ES256, no ceilings. */
export function issuerConfig(changes: Partial<IssuerConfig> = {}): IssuerConfig {
  return {
    issuer: TEST_ISSUER,
    audience: [TEST_AUDIENCE],
    jwks: {
      url: undefined,
      file: 'jwks.json',
      timeout: 5_000,
      maxBytes: 65_536,
      cooldown: 30_000,
      cacheAge: 600_000,
      staleAge: 3_600_000,
    },
    algorithms: ['ES256'],
    mapping: 'act',
    claims: { agentId: undefined, userId: undefined, tenant: undefined, attributes: {} },
    owners: {},
    legacyTyp: false,
    requireClientId: true,
    requireSubProfile: false,
    maxLifetime: 900_000,
    leeway: 30_000,
    maxActorDepth: 4,
    ceilings: [],
    missingCeiling: 'none',
    ...changes,
  }
}

/** How the JWKS server answers from now on. */
export type JwksBehaviour = 'ok' | 'error' | 'redirect' | 'huge' | 'hang' | 'html' | 'garbage' | 'no_keys'

export class JwksServer {
  behaviour: JwksBehaviour = 'ok'
  /** What `ok` serves. */
  keys: JWK[]
  /** Requests so far, by path. */
  readonly requests: string[] = []
  readonly #server: Server
  #onRequest: (() => void)[] = []
  /** Requests that hang. */
  readonly #held: { request: IncomingMessage; response: ServerResponse }[] = []

  constructor(keys: JWK[]) {
    this.keys = keys
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/jwks`
  }

  /** Resolves at the next request. */
  nextRequest(): Promise<void> {
    return new Promise((resolve) => this.#onRequest.push(resolve))
  }

  /** Answers the requests that hang, as it would answer now. */
  release(): void {
    for (const { request, response } of this.#held.splice(0)) this.#answer(request, response)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(request.url ?? '')
    const json = { 'content-type': 'application/json' }
    switch (this.behaviour) {
      case 'ok':
        response.writeHead(200, json).end(JSON.stringify({ keys: this.keys }))
        break
      case 'error':
        response.writeHead(500, json).end(JSON.stringify({ keys: this.keys }))
        break
      case 'redirect':
        response.writeHead(302, { location: '/elsewhere' }).end()
        break
      case 'huge':
        response
          .writeHead(200, json)
          .end(JSON.stringify({ keys: this.keys, padding: 'x'.repeat(50_000_000) }))
        break
      case 'html':
        response.writeHead(200, { 'content-type': 'text/html' }).end(JSON.stringify({ keys: this.keys }))
        break
      case 'garbage':
        response.writeHead(200, json).end('{"keys":')
        break
      case 'no_keys':
        response.writeHead(200, json).end('{"keys":[]}')
        break
      case 'hang':
        this.#held.push({ request, response })
        break
    }
    for (const resolve of this.#onRequest.splice(0)) resolve()
  }
}

/** Signs tokens; `mint()` alone is agent `scout` acting for `alice`. */
export class TestIssuer {
  readonly dev: DevIssuer

  private constructor(dev: DevIssuer) {
    this.dev = dev
  }

  static async create(
    clock: Clock,
    options: { alg?: DevAlgorithm; issuer?: string; audience?: string } = {},
  ): Promise<TestIssuer> {
    return new TestIssuer(
      await DevIssuer.generate(clock, { issuer: TEST_ISSUER, audience: TEST_AUDIENCE, ...options }),
    )
  }

  get publicKey(): JWK {
    return this.dev.publicJwks().keys[0]!
  }

  /** @param overrides claims; one that is `undefined` is left out of the token */
  mint(overrides: DevClaims = {}, options: MintOptions = {}): Promise<string> {
    const base = agentClaims({ agent: 'scout', user: 'alice', issuer: this.dev.issuer })
    return this.dev.mint({ ...base, ...overrides }, options)
  }

  serveJwks(): Promise<JwksServer> {
    return new JwksServer([this.publicKey]).listen()
  }
}
