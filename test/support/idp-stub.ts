// A stub of an enterprise identity provider: it has decided already which agent may act for whom, and says so in
// ID-JAGs (draft-ietf-oauth-identity-assertion-authz-grant-05). Its token exchange is a method call.
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { exportJWK, type JWK, SignJWT } from 'jose'
import type { Clock } from '../../src/clock.ts'
import type { DevClaims } from '../../src/dev/issuer.ts'
import { TestIssuer } from './tokens.ts'

export const STUB_IDP = 'https://idp.example'

export class IdpStub {
  readonly issuer: TestIssuer
  readonly #audience: string

  private constructor(issuer: TestIssuer, audience: string) {
    this.issuer = issuer
    this.#audience = audience
  }

  /** @param audience issuer identifier of the token endpoint that the assertions are for */
  static async create(clock: Clock, audience: string, name = STUB_IDP): Promise<IdpStub> {
    return new IdpStub(await TestIssuer.create(clock, { issuer: name }), audience)
  }

  jwks(): string {
    return JSON.stringify(this.issuer.dev.publicJwks())
  }

  /** An ID-JAG for `alice`, for the client `scout-client`; `undefined` leaves a claim or header member out. */
  jag(claims: DevClaims = {}, header: DevClaims = {}, lifetimeMs = 300_000): Promise<string> {
    const told = { aud: this.#audience, sub: 'alice', client_id: 'scout-client', ...claims }
    return this.issuer.dev.mint(told, { header: { typ: 'oauth-id-jag+jwt', ...header }, lifetimeMs })
  }
}

/** The key of an OAuth client that authenticates by `private_key_jwt`. */
export class ClientKey {
  readonly #key: KeyObject
  readonly jwk: JWK
  readonly #clock: Clock

  private constructor(key: KeyObject, jwk: JWK, clock: Clock) {
    this.#key = key
    this.jwk = jwk
    this.#clock = clock
  }

  static async create(clock: Clock): Promise<ClientKey> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    return new ClientKey(privateKey, { ...(await exportJWK(publicKey)), alg: 'ES256' }, clock)
  }

  /** As a client keeps it in a file. */
  get privateJwk(): string {
    return JSON.stringify({ ...this.#key.export({ format: 'jwk' }), alg: 'ES256' })
  }

  assertion(client: string, audience: string, claims: DevClaims = {}, header: object = {}): Promise<string> {
    const now = Math.floor(this.#clock.now() / 1000)
    return new SignJWT({
      iss: client,
      sub: client,
      aud: audience,
      iat: now,
      exp: now + 60,
      jti: crypto.randomUUID(),
      ...claims,
    })
      .setProtectedHeader({ alg: 'ES256', ...header })
      .sign(this.#key)
  }
}
