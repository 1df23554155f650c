// The keys with which tokens are signed: made by `postern sts keygen`, read from a file as a JWK Set with private parts.
// The first key signs, all are published, so that tokens of the former one stay good. RFC 7517, RFC 9068 §2.1.

import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  type JWTPayload,
  SignJWT,
} from 'jose'
import { PosternError } from '../errors.ts'

export const SIGNING_ALGORITHMS = ['ES256', 'Ed25519'] as const
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]

/** Keys in a file: the one that signs and the one before it. */
const MOST_KEYS = 2
/** What of a key is published; an allow-list, so that no private part can be. */
const PUBLIC_MEMBERS = ['kty', 'crv', 'x', 'y', 'alg', 'use', 'kid'] as const

interface LoadedKeys {
  sign: { key: CryptoKey; kid: string; alg: string }
  published: { keys: JWK[] }
}

export class SigningKeys {
  readonly #path: string
  #keys!: LoadedKeys

  private constructor(path: string) {
    this.#path = path
  }

  /** @throws PosternError `ERR_STS_KEYS` */
  static async open(path: string): Promise<SigningKeys> {
    const keys = new SigningKeys(path)
    await keys.load()
    return keys
  }

  /** Reads the file again. @throws PosternError `ERR_STS_KEYS`; the keys in use stay */
  async load(): Promise<void> {
    const jwks = await readKeys(this.#path)
    const first = jwks[0]!
    const key = await importPrivate(first, this.#path)
    // So that a file with a damaged former key is told of now, and not when a proxy cannot read the published set.
    for (const other of jwks.slice(1)) await importPrivate(other, this.#path)
    this.#keys = {
      sign: { key, kid: first.kid!, alg: first.alg! },
      published: { keys: jwks.map(publicPart) },
    }
  }

  get published(): { keys: JWK[] } {
    return this.#keys.published
  }

  get kid(): string {
    return this.#keys.sign.kid
  }

  /** A compact JWS of type `at+jwt`, by the newest key. */
  sign(claims: JWTPayload): Promise<string> {
    const { key, kid, alg } = this.#keys.sign
    return new SignJWT(claims).setProtectedHeader({ alg, typ: 'at+jwt', kid }).sign(key)
  }
}

/**
 * Makes a key and writes it to a file that nobody else can read.
 *
 * @param rotate put it in front of the newest key of the file, which stays published; older ones go
 * @returns `kid` of the new key
 * @throws PosternError `ERR_STS_KEYS` when there is a file and `rotate` is not set, or there is none and it is
 */
export async function writeNewKey(path: string, alg: SigningAlgorithm, rotate: boolean): Promise<string> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(privateKey)
  const kid = await calculateJwkThumbprint(jwk)
  const former = rotate ? await readKeys(path) : []
  const keys = [{ ...jwk, alg, use: 'sig', kid }, ...former].slice(0, MOST_KEYS)
  const text = `${JSON.stringify({ keys }, undefined, 2)}\n`
  try {
    if (!rotate) await writeFile(path, text, { mode: 0o600, flag: 'wx' })
    else {
      const draft = `${path}.new`
      await rm(draft, { force: true })
      await writeFile(draft, text, { mode: 0o600, flag: 'wx' })
      await rename(draft, path)
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const why = code === 'EEXIST' ? 'there is one already; --rotate puts a new key in front' : code
    throw new PosternError('ERR_STS_KEYS', 'internal', `key file ${path} is not written: ${why}`, { cause })
  }
  return kid
}

async function readKeys(path: string): Promise<JWK[]> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw unusable(path, `it cannot be read (${cause.code}); make it with \`postern sts keygen\``, cause)
  })
  let keys: unknown
  try {
    keys = (JSON.parse(text) as { keys?: unknown } | null)?.keys
  } catch {
    // The parser's message would quote the key.
    throw unusable(path, 'it is not JSON')
  }
  if (!Array.isArray(keys) || keys.length === 0) throw unusable(path, 'it holds no list of `keys`')
  const jwks = keys as (JWK | null)[]
  for (const [i, jwk] of jwks.entries()) {
    const isKnown = SIGNING_ALGORITHMS.some((alg) => alg === jwk?.alg)
    if (!isKnown || typeof jwk?.kid !== 'string' || typeof jwk.d !== 'string') {
      throw unusable(path, `key ${i + 1} is no private key with \`kid\` and \`alg\` (ES256 or Ed25519)`)
    }
    if (jwks.findIndex((other) => other?.kid === jwk.kid) < i) throw unusable(path, 'a `kid` is there twice')
  }
  return jwks as JWK[]
}

async function importPrivate(jwk: JWK, path: string): Promise<CryptoKey> {
  try {
    return (await importJWK(jwk, jwk.alg)) as CryptoKey
  } catch {
    throw unusable(path, 'a key is damaged')
  }
}

function publicPart(jwk: JWK): JWK {
  return Object.fromEntries(
    PUBLIC_MEMBERS.filter((name) => jwk[name] !== undefined).map((name) => [name, jwk[name]]),
  ) as JWK
}

function unusable(path: string, why: string, cause?: unknown): PosternError {
  return new PosternError('ERR_STS_KEYS', 'internal', `key file ${path} cannot be used: ${why}`, { cause })
}
