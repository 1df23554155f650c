// An issuer's JWK Set from a file, for offline runs: read at start, again when told to. A bad file keeps the old set.
// KEY-08.

import { readFile } from 'node:fs/promises'
import type { Clock } from '../clock.ts'
import { PosternError } from '../errors.ts'
import { type KeySet, parseKeySet } from './key-set.ts'
import type { KeyAnswer, KeySource } from './key-source.ts'

export class FileKeys implements KeySource {
  readonly path: string
  readonly #algorithms: readonly string[]
  readonly #maxBytes: number
  readonly #use: 'sig' | 'jwt-svid' | undefined
  readonly #clock: Clock
  readonly #readFile: (path: string) => Promise<Buffer>
  readonly #onReplaced: (kids: ReadonlySet<string>) => void
  #set: KeySet | undefined
  #loadedAt = 0

  /**
   * @param read in place of the file system
   * @param onReplaced called with the names of the keys, whenever they were replaced
   */
  constructor(
    options: {
      path: string
      algorithms: readonly string[]
      maxBytes: number
      use?: 'sig' | 'jwt-svid' | undefined
    },
    clock: Clock,
    read: (path: string) => Promise<Buffer> = readFile,
    onReplaced: (kids: ReadonlySet<string>) => void = () => {},
  ) {
    this.#onReplaced = onReplaced
    this.#readFile = read
    this.path = options.path
    this.#algorithms = options.algorithms
    this.#maxBytes = options.maxBytes
    this.#use = options.use
    this.#clock = clock
  }

  /**
   * Reads the file and puts its keys in place of the old ones, all or none.
   *
   * @throws PosternError `ERR_KEY_FILE`; the set in use stays
   */
  async load(): Promise<void> {
    const set = await this.#read()
    this.#set = set
    this.#loadedAt = this.#clock.monotonic()
    this.#onReplaced(set.kids)
  }

  async keyFor(alg: string, kid: string | undefined): Promise<KeyAnswer> {
    return this.#set?.choose(alg, kid) ?? { ok: false, reason: 'keys_unavailable' }
  }

  ready(): boolean {
    return this.#set !== undefined
  }

  ageMs(): number | undefined {
    return this.#set === undefined ? undefined : this.#clock.monotonic() - this.#loadedAt
  }

  async close(): Promise<void> {}

  async #read(): Promise<KeySet> {
    let set: KeySet
    try {
      const bytes = await this.#readFile(this.path)
      if (bytes.length > this.#maxBytes) {
        throw new PosternError('ERR_KEY_SET', 'internal', `the file is larger than ${this.#maxBytes} bytes`)
      }
      set = await parseKeySet(bytes.toString('utf8'), this.#algorithms, this.#use)
    } catch (error) {
      const why = error instanceof PosternError ? error.message : 'the file cannot be read'
      throw new PosternError('ERR_KEY_FILE', 'internal', `JWKS file ${this.path}: ${why}`, { cause: error })
    }
    if (set.brokenCount > 0) {
      // A person wrote this file: a key that silently does nothing would be found too late.
      throw new PosternError(
        'ERR_KEY_FILE',
        'internal',
        `JWKS file ${this.path}: ${set.brokenCount} unusable key(s) (damaged, RSA below 2048 bits, or with private parts)`,
      )
    }
    return set
  }
}
