// Where the latest connection of each MQTT session is, and what is remembered of sessions that nobody is connected to:
// the session memory of the first process, of which each worker's is a part. What a worker knew of its connections ends
// with it; whose the sessions are does not.

import type { Claim, Remembered } from '../session/session-memory.ts'

/** A worker, as far as sessions go. */
export interface Holder {
  /** What it remembers of a session whose latest connection it has. Rejects when it has ended. */
  look(clientId: string): Promise<Remembered | undefined>
  /** The session goes on elsewhere. */
  moved(clientId: string): void
}

interface Entry {
  owner: string
  /** Who has the latest connection. */
  at: Holder | undefined
  remembered: Remembered | undefined
}

export class SessionDirectory {
  readonly #maximum: number
  /** In order of last use, oldest first. */
  readonly #entries = new Map<string, Entry>()
  /** Names between CONNECT and CONNACK. */
  readonly #claims = new Map<string, { owner: string; by: Map<Holder, number> }>()
  #reserved = 0

  /** @param maximum sessions remembered; the one unused for longest is forgotten first */
  constructor(maximum: number) {
    this.#maximum = maximum
  }

  /** Connections for which a name is reserved. */
  get reserved(): number {
    return this.#reserved
  }

  /** As Memory.claim. */
  claim(holder: Holder, clientId: string, owner: string): Claim {
    const held = this.#claims.get(clientId)
    if (held !== undefined && held.owner !== owner) return 'busy'
    const by = held?.by ?? new Map<Holder, number>()
    by.set(holder, (by.get(holder) ?? 0) + 1)
    this.#reserved += 1
    this.#claims.set(clientId, { owner, by })
    const known = this.#entries.get(clientId)
    return known === undefined || known.owner === owner ? 'own' : 'foreign'
  }

  release(holder: Holder, clientId: string, owner: string): void {
    const held = this.#claims.get(clientId)
    const count = held?.by.get(holder)
    if (held === undefined || held.owner !== owner || count === undefined) return
    this.#reserved -= 1
    if (count > 1) held.by.set(holder, count - 1)
    else held.by.delete(holder)
    if (held.by.size === 0) this.#claims.delete(clientId)
  }

  /** `yours`: the latest connection is the asking worker's own. Nothing changes until `opened`. */
  async recall(holder: Holder, clientId: string): Promise<Remembered | 'yours' | undefined> {
    const at = this.#entries.get(clientId)?.at
    if (at === holder) return 'yours'
    const told = await at?.look(clientId).catch(() => undefined)
    // Meanwhile its connection may have ended.
    return told ?? this.#entries.get(clientId)?.remembered
  }

  opened(holder: Holder, clientId: string, owner: string): void {
    const former = this.#entries.get(clientId)?.at
    if (former !== undefined && former !== holder) former.moved(clientId)
    this.#entries.delete(clientId)
    this.#entries.set(clientId, { owner, at: holder, remembered: undefined })
    if (this.#entries.size <= this.#maximum) return
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest)
      break
    }
  }

  /** A connection ended; a session that goes on elsewhere stays as it is. */
  closed(holder: Holder, clientId: string, remembered: Remembered | undefined): void {
    const entry = this.#entries.get(clientId)
    if (entry?.at !== holder) return
    if (remembered === undefined) this.#entries.delete(clientId)
    else this.#entries.set(clientId, { ...entry, at: undefined, remembered })
  }

  /** The worker has ended. */
  lost(holder: Holder): void {
    for (const entry of this.#entries.values()) if (entry.at === holder) entry.at = undefined
    for (const [clientId, { by }] of this.#claims) {
      this.#reserved -= by.get(holder) ?? 0
      by.delete(holder)
      if (by.size === 0) this.#claims.delete(clientId)
    }
  }
}
