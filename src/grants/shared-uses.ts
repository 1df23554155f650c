// The uses of grants in the store that replicas share. While it cannot be reached no use is taken, whatever
// `store.onFailure` says: two replicas that each went on alone would give one use out twice.

import type { Store } from '../store/store.ts'
import type { Take, UsedGrants } from './used-grants.ts'

/** A replica whose clock is behind may ask for a grant that has ended elsewhere: so much longer it is remembered. */
const GRACE_MS = 3_600_000

export class SharedUses implements UsedGrants {
  readonly #store: Pick<Store, 'take'>

  constructor(store: Pick<Store, 'take'>) {
    this.#store = store
  }

  async take(key: string, maxUses: number, expiresAtMs: number): Promise<Take> {
    try {
      const taken = await this.#store.take(`grant:${key}`, maxUses, expiresAtMs + GRACE_MS)
      return taken ? 'taken' : 'spent'
    } catch {
      return 'unavailable'
    }
  }

  /** The store is not ours. */
  async close(): Promise<void> {}
}
