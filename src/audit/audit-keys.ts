// The keys of an audit trail: what signs its checkpoints, and what makes keyed digests. Both can be replaced while Postern
// runs; the chain says from where on another one is in force.

import type { Config } from '../config/config.ts'
import { readDigestKey, readSigner } from './checkpoint-file.ts'
import { digestKeyId, payloadDigest, pseudonym } from './digest.ts'
import type { AuditEvent, DigestPort } from './event.ts'
import type { NoteSigner } from './signed-note.ts'

export class AuditKeys {
  /** Of payloads and Correlation Data; undefined: there is none. */
  readonly digest: DigestPort | undefined
  /** Names a human in records; undefined: as in the token. */
  readonly pseudonym: ((issuer: string, name: string) => string) | undefined
  readonly #files: { signer: string | undefined; digest: string | undefined }
  #signer: NoteSigner | undefined
  #digestKey: Buffer | undefined

  /** @throws PosternError `ERR_AUDIT_KEY` */
  constructor({ payloadDigest: kind, subjects, digestKeyFile, checkpoints }: Config['audit']) {
    this.#files = { signer: checkpoints.keyFile, digest: digestKeyFile }
    this.#read()
    const key = (): Buffer => this.#digestKey!
    this.digest = kind === 'none' ? undefined : payloadDigest(kind === 'hmac' ? key : undefined)
    if (subjects === 'hmac') this.pseudonym = (issuer, name) => pseudonym(key(), issuer, name)
  }

  get signer(): NoteSigner | undefined {
    return this.#signer
  }

  /**
   * Reads the files again. All former keys stay when one is no good.
   *
   * @throws PosternError `ERR_AUDIT_KEY`
   */
  reload(): { signer: boolean; digest: boolean } {
    const [signer, digestKey] = [this.#signer, this.#digestKey]
    this.#read()
    return {
      signer: signer?.text !== this.#signer?.text,
      digest: digestKey !== undefined && !digestKey.equals(this.#digestKey!),
    }
  }

  /** Record of the digest key in force; undefined without one. */
  digestKeyEvent(reason: 'ok' | 'key_changed'): AuditEvent | undefined {
    if (this.#digestKey === undefined) return undefined
    const detail = `key ${digestKeyId(this.#digestKey)}`
    return { action: 'digest_key', decision: 'allow', reason, effect: 'in force', detail }
  }

  #read(): void {
    const { signer, digest } = this.#files
    const [newSigner, newKey] = [signer && readSigner(signer), digest && readDigestKey(digest)]
    if (newSigner) this.#signer = newSigner
    if (newKey) this.#digestKey = newKey
  }
}
