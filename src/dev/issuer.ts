// A development issuer: makes a key set and signs access tokens, so that everything can be tried without an identity
// provider. Never for production: whoever reads the key file is every agent and every human. RFC 9068.

import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  type JWTHeaderParameters,
  SignJWT,
} from 'jose'
import type { Clock } from '../clock.ts'
import { PosternError } from '../errors.ts'

export const DEV_ALGORITHMS = ['ES256', 'EdDSA', 'Ed25519', 'RS256'] as const
export type DevAlgorithm = (typeof DEV_ALGORITHMS)[number]

/** As in the examples of README.md and deploy/examples. */
export const DEV_ISSUER = 'https://id.example.com'
export const DEV_AUDIENCE = 'https://mqtt.example.com'

/** Holds the private key; mode 0600. */
export const PRIVATE_KEYS_FILE = 'private-jwks.json'
/** What `jwks.file` of an issuer's configuration points to. */
export const PUBLIC_KEYS_FILE = 'jwks.json'

/** Claims by name. One that is `undefined` leaves out the default of that name. */
export type DevClaims = Readonly<Record<string, unknown>>

export interface MintOptions {
  /** `exp` - `iat`, milliseconds. Default 15 minutes. */
  lifetimeMs?: number
  /** Header members over the default `alg`, `kid` and `typ: at+jwt`; `undefined` leaves one out. */
  header?: Readonly<Record<string, unknown>>
}

const LIFETIME_MS = 15 * 60 * 1000

export class DevIssuer {
  readonly issuer: string
  readonly audience: string
  readonly #privateKey: JWK
  readonly #clock: Clock

  private constructor(privateKey: JWK, clock: Clock, names: { issuer?: string; audience?: string }) {
    this.issuer = names.issuer ?? DEV_ISSUER
    this.audience = names.audience ?? DEV_AUDIENCE
    this.#privateKey = privateKey
    this.#clock = clock
  }

  /** A new key, in memory only. Its `kid` is the RFC 7638 thumbprint. */
  static async generate(
    clock: Clock,
    options: { alg?: DevAlgorithm; issuer?: string; audience?: string } = {},
  ): Promise<DevIssuer> {
    const alg = options.alg ?? 'ES256'
    const { privateKey } = await generateKeyPair(alg, { extractable: true })
    const jwk = await exportJWK(privateKey)
    return new DevIssuer({ ...jwk, alg, use: 'sig', kid: await calculateJwkThumbprint(jwk) }, clock, options)
  }

  /** @throws PosternError `ERR_DEV_KEYS` when `directory` holds no key that `save` has written */
  static async load(
    directory: string,
    clock: Clock,
    names: { issuer?: string; audience?: string } = {},
  ): Promise<DevIssuer> {
    const file = join(directory, PRIVATE_KEYS_FILE)
    try {
      const document = JSON.parse(await readFile(file, 'utf8')) as { keys: JWK[] }
      const key = document.keys[0]!
      await importJWK(key)
      return new DevIssuer(key, clock, names)
    } catch (error) {
      throw new PosternError(
        'ERR_DEV_KEYS',
        'internal',
        `no development key in ${file}; make one with \`postern token keys\``,
        {
          cause: error,
        },
      )
    }
  }

  /**
   * Writes the private and the public key set into `directory`, which is made if need be.
   *
   * @throws PosternError `ERR_DEV_KEYS` when there are keys already and `force` is not set
   */
  async save(directory: string, options: { force?: boolean } = {}): Promise<void> {
    await mkdir(directory, { recursive: true })
    const write = async (name: string, key: JWK, mode: number): Promise<void> => {
      const file = join(directory, name)
      if (options.force === true) await rm(file, { force: true })
      await writeFile(file, `${JSON.stringify({ keys: [key] }, undefined, 2)}\n`, { mode, flag: 'wx' })
    }
    try {
      await write(PRIVATE_KEYS_FILE, this.#privateKey, 0o600)
      await write(PUBLIC_KEYS_FILE, publicPart(this.#privateKey), 0o644)
    } catch (error) {
      const why =
        (error as NodeJS.ErrnoException).code === 'EEXIST'
          ? 'there are keys already; --force replaces them'
          : 'cannot write the keys'
      throw new PosternError('ERR_DEV_KEYS', 'internal', `${directory}: ${why}`, { cause: error })
    }
  }

  publicJwks(): { keys: JWK[] } {
    return { keys: [publicPart(this.#privateKey)] }
  }

  /** Signs an access token. Defaults: `iss`, `aud`, `iat`, `exp`, `jti`, and `client_id` (`dev-client`). */
  async mint(claims: DevClaims, options: MintOptions = {}): Promise<string> {
    const issuedAt = Math.floor(this.#clock.now() / 1000)
    const payload = {
      iss: this.issuer,
      aud: this.audience,
      iat: issuedAt,
      exp: issuedAt + Math.floor((options.lifetimeMs ?? LIFETIME_MS) / 1000),
      jti: randomUUID(),
      client_id: 'dev-client',
      ...claims,
    }
    const alg = this.#privateKey.alg as DevAlgorithm
    const header = { typ: 'at+jwt', kid: this.#privateKey.kid, ...options.header, alg }
    return new SignJWT(payload)
      .setProtectedHeader(header as JWTHeaderParameters)
      .sign(await importJWK(this.#privateKey, alg))
  }
}

/**
 * The claims of an agent: with a human, a delegation (mapping mode `act`); without, a self-acting agent (`self`).
 */
export function agentClaims(names: {
  agent: string
  user?: string
  tenant?: string
  issuer?: string
}): DevClaims {
  const iss = names.issuer ?? DEV_ISSUER
  return {
    ...(names.user === undefined
      ? { sub: names.agent }
      : { sub: names.user, act: { iss, sub: names.agent } }),
    agent_id: names.agent,
    ...(names.tenant === undefined ? {} : { org_id: names.tenant }),
  }
}

function publicPart(key: JWK): JWK {
  const { d: _d, p: _p, q: _q, dp: _dp, dq: _dq, qi: _qi, ...rest } = key
  return rest
}
