// Just-in-time grants put together: whose are taken, and how many uses of each are left. Who holds one, and for what, is
// the session's.

import type { Clock } from '../clock.ts'
import type { GrantsConfig } from '../config/config.ts'
import {
  type Grant,
  type GrantAnswer,
  type GrantIssuerRuntime,
  GrantVerifier,
} from '../identity/grant-token.ts'
import { type OnKeysLoaded, openKeys } from '../identity/issuers.ts'
import type { KeySource } from '../identity/key-source.ts'
import type { Principal } from '../identity/principal.ts'
import type { IssuerRuntime } from '../identity/token-verifier.ts'
import type { Store } from '../store/store.ts'
import { SharedUses } from './shared-uses.ts'
import { UseJournal } from './use-journal.ts'
import type { Take, UsedGrants } from './used-grants.ts'

export interface GrantPorts {
  clock: Clock
  /** Token issuers, whose keys a grant issuer of the same name may share. */
  issuers: readonly IssuerRuntime[]
  onKeysLoaded: OnKeysLoaded
  /** Counts the uses of all replicas; undefined: the journal on disk does, for this process. */
  store: Store | undefined
  /** Counts the uses in place of both: another process, which has them. */
  used?: UsedGrants | undefined
  /** Reads key files in place of the file system. */
  read?: ((path: string) => Promise<Buffer>) | undefined
}

export class Grants {
  readonly #verifier: GrantVerifier
  readonly used: UsedGrants
  /** Of each issuer; undefined: those of a token issuer, which are not ours. */
  readonly #keys: readonly (KeySource | undefined)[]

  private constructor(verifier: GrantVerifier, used: UsedGrants, keys: readonly (KeySource | undefined)[]) {
    this.#verifier = verifier
    this.used = used
    this.#keys = keys
  }

  /** @throws PosternError `ERR_GRANTS` of the journal, or as `openKeys` */
  static async open(config: GrantsConfig, ports: GrantPorts): Promise<Grants> {
    const { clock, issuers, onKeysLoaded, store, read } = ports
    const keys: (KeySource | undefined)[] = []
    try {
      const runtimes = config.issuers.map((issuer): GrantIssuerRuntime => {
        const { url, file } = issuer.jwks
        const shared = issuers.find(({ config: { issuer: name } }) => name === issuer.issuer)
        const isOwn = url !== undefined || file !== undefined || shared === undefined
        const source = isOwn ? openKeys(issuer, clock, onKeysLoaded, read) : undefined
        keys.push(source)
        return { config: issuer, keys: source ?? shared!.keys }
      })
      await Promise.all(keys.map((source) => source?.load()))
      const own = (): Promise<UsedGrants> => UseJournal.open(config.file!, clock)
      const used = ports.used ?? (store === undefined ? await own() : new SharedUses(store))
      return new Grants(new GrantVerifier(runtimes, config, clock), used, keys)
    } catch (error) {
      await Promise.all(keys.map((source) => source?.close()))
      throw error
    }
  }

  /** Reads the keys of one issuer again. @throws PosternError `ERR_KEY_FILE`; the former ones stay in use */
  async loadKeys(issuer: number): Promise<void> {
    await this.#keys[issuer]?.load()
  }

  /** Verifies a grant and that it is for this bearer; takes no use. Never rejects. */
  check(token: Buffer, bearer: Principal): Promise<GrantAnswer> {
    return this.#verifier.verify(token, bearer)
  }

  /** Takes one use. Never rejects. */
  take(grant: Grant): Promise<Take> {
    return this.used.take(grant.key, grant.maxUses, grant.expiresAtMs)
  }

  async close(): Promise<void> {
    await Promise.all(this.#keys.map((source) => source?.close()))
    await this.used.close()
  }
}
