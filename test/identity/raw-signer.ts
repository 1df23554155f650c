// Signs whatever it is given: headers and payloads that no honest library would write.
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { JWK } from 'jose'
import { type KeySet, parseKeySet } from '../../src/identity/key-set.ts'
import type { KeyAnswer, KeySource } from '../../src/identity/key-source.ts'

type Part = object | string | Buffer

export class RawSigner {
  readonly kid: string
  readonly alg: 'ES256' | 'RS256'
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject

  constructor(kid = 'k1', alg: 'ES256' | 'RS256' = 'ES256') {
    this.kid = kid
    this.alg = alg
    const pair =
      alg === 'ES256'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('rsa', { modulusLength: 2048 })
    this.privateKey = pair.privateKey
    this.publicKey = pair.publicKey
  }

  get jwk(): JWK {
    return { ...(this.publicKey.export({ format: 'jwk' }) as JWK), kid: this.kid, alg: this.alg, use: 'sig' }
  }

  /** Header members over `alg`, `kid`, `typ`; `undefined` leaves one out. A string or bytes are taken as they are. */
  sign(payload: Part, header: Part = {}): string {
    const full = isText(header) ? header : { alg: this.alg, kid: this.kid, typ: 'at+jwt', ...header }
    const input = `${encode(full)}.${encode(payload)}`
    const signature = sign('sha256', Buffer.from(input), { key: this.privateKey, dsaEncoding: 'ieee-p1363' })
    return `${input}.${signature.toString('base64url')}`
  }
}

/** HS256 with a secret; `none` gets a signature that is only well-formed. */
export function signSymmetric(payload: object, header: object, secret: string | Buffer): string {
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

export function encode(part: Part): string {
  return Buffer.from(isText(part) ? part : JSON.stringify(part)).toString('base64url')
}

function isText(part: Part): part is string | Buffer {
  return typeof part === 'string' || Buffer.isBuffer(part)
}

/** Keys that are simply there, and count how often they were asked for. */
export class FixedKeys implements KeySource {
  asked = 0
  readonly #set: KeySet

  private constructor(set: KeySet) {
    this.#set = set
  }

  static async of(keys: readonly JWK[], algorithms: readonly string[] = ['ES256']): Promise<FixedKeys> {
    return new FixedKeys(await parseKeySet(JSON.stringify({ keys }), algorithms))
  }

  async keyFor(alg: string, kid: string | undefined): Promise<KeyAnswer> {
    this.asked++
    return this.#set.choose(alg, kid)
  }

  async load(): Promise<void> {}
  ready(): boolean {
    return true
  }
  ageMs(): number {
    return 0
  }
  async close(): Promise<void> {}
}
