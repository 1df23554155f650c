// The keys that tokens are bound to under the method `ace`: a public key in `cnf.jwk`, or a symmetric key that is
// encrypted to Postern in `cnf.jwe` (RFC 7800 §3.2, §3.3). What is not wholly understood is no key at all.

import { createPublicKey, createSecretKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { type CryptoKey, calculateJwkThumbprint, compactDecrypt, importJWK, type JWK } from 'jose'
import { PosternError } from '../errors.ts'
import type { PopKey } from './ace.ts'
import { parseObject } from './strict-json.ts'

/** How the key of a `cnf.jwe` may be encrypted; each decryption key names its own. */
const KEY_ENCRYPTIONS = ['dir', 'A128KW', 'A256KW', 'RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A256KW']
const CONTENT_ENCRYPTIONS = ['A128GCM', 'A256GCM', 'A128CBC-HS256', 'A256CBC-HS512']
/** RFC 7518 §3.2: as long as the digest. */
const SHORTEST_SECRET_BYTES = 32

interface DecryptionKey {
  kid: string | undefined
  alg: string
  key: CryptoKey | Uint8Array
}

export class AceKeys {
  readonly #path: string | undefined
  readonly #readFile: (path: string) => Promise<Buffer>
  #keys: readonly DecryptionKey[] = []

  /**
   * @param path JWK Set of the keys that `cnf.jwe` is decrypted with; undefined: only `cnf.jwk` is understood
   * @param read in place of the file system
   */
  constructor(path: string | undefined, read: (path: string) => Promise<Buffer> = readFile) {
    this.#readFile = read
    this.#path = path
  }

  /** @throws PosternError `ERR_ACE_KEYS`; the keys in use stay */
  async load(): Promise<void> {
    if (this.#path === undefined) return
    try {
      this.#keys = await readKeys((await this.#readFile(this.#path)).toString('utf8'))
    } catch (cause) {
      const why = cause instanceof PosternError ? cause.message : 'it cannot be read'
      const message = `the key file ${this.#path} cannot be used: ${why}`
      throw new PosternError('ERR_ACE_KEYS', 'internal', message, { cause })
    }
  }

  /**
   * The key of a `cnf`; never rejects.
   *
   * @returns undefined unless it is exactly one Ed25519 public key, or one symmetric key for HS256
   */
  async read(cnf: unknown): Promise<PopKey | undefined> {
    if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)) return undefined
    const members = new Map<string, unknown>(Object.entries(cnf))
    if (members.size !== 1) return undefined
    const [jwk, jwe] = [members.get('jwk'), members.get('jwe')]
    try {
      if (typeof jwe === 'string') return await secretKey(await this.#decrypt(jwe))
      return isObject(jwk) ? await publicKey(jwk) : undefined
    } catch {
      return undefined
    }
  }

  async #decrypt(jwe: string): Promise<JWK | undefined> {
    const { plaintext } = await compactDecrypt(
      jwe,
      ({ alg, kid }) => {
        const fitting = this.#keys.filter((one) => one.alg === alg && (kid === undefined || one.kid === kid))
        if (fitting.length !== 1) throw new TypeError('no key, or more than one')
        return fitting[0]!.key
      },
      { keyManagementAlgorithms: KEY_ENCRYPTIONS, contentEncryptionAlgorithms: CONTENT_ENCRYPTIONS },
    )
    const read = parseObject(Buffer.from(plaintext))
    return read.ok ? (Object.fromEntries(read.members) as JWK) : undefined
  }
}

async function publicKey(jwk: JWK): Promise<PopKey | undefined> {
  if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519' || jwk.d !== undefined) return undefined
  if (!isFor(jwk, ['EdDSA', 'Ed25519'])) return undefined
  const key = createPublicKey({ key: { kty: jwk.kty, crv: jwk.crv, x: String(jwk.x) }, format: 'jwk' })
  return { alg: 'Ed25519', key, thumbprint: await calculateJwkThumbprint(jwk) }
}

async function secretKey(jwk: JWK | undefined): Promise<PopKey | undefined> {
  if (jwk?.kty !== 'oct' || typeof jwk.k !== 'string' || !isFor(jwk, ['HS256'])) return undefined
  const secret = Buffer.from(jwk.k, 'base64url')
  if (secret.length < SHORTEST_SECRET_BYTES) return undefined
  return { alg: 'HS256', key: createSecretKey(secret), thumbprint: await calculateJwkThumbprint(jwk) }
}

/** Whether a key does not say that it is for something else. */
function isFor({ alg, use, key_ops }: JWK, algorithms: readonly string[]): boolean {
  if (alg !== undefined && !algorithms.includes(alg)) return false
  if (use !== undefined && use !== 'sig') return false
  return key_ops === undefined || (Array.isArray(key_ops) && key_ops.includes('verify'))
}

async function readKeys(text: string): Promise<DecryptionKey[]> {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    // The parser's message would quote the text.
    throw bad('it is not JSON')
  }
  const list = isObject(document) ? (document as { keys?: unknown }).keys : undefined
  if (!Array.isArray(list) || list.length === 0 || !list.every(isObject)) {
    throw bad('it has no list of keys under "keys"')
  }
  return Promise.all(
    list.map(async (jwk: JWK, i) => {
      const { alg, kid } = jwk
      if (alg === undefined || !KEY_ENCRYPTIONS.includes(alg))
        throw bad(`the \`alg\` of key ${i + 1} is none of ${KEY_ENCRYPTIONS.join(', ')}`)
      const key = await importJWK(jwk, alg).catch(() => undefined)
      if (key === undefined || (jwk.kty !== 'oct' && jwk.d === undefined))
        throw bad(`key ${i + 1} cannot decrypt`)
      return { kid, alg, key }
    }),
  )
}

function bad(message: string): PosternError {
  return new PosternError('ERR_ACE_KEYS', 'internal', message)
}

function isObject(value: unknown): value is JWK {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
