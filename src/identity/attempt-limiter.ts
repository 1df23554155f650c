// Counts failed tries per key in a window, in bounded memory. Knows nothing of tokens or sockets. TOK-18.

import type { Clock } from '../clock.ts'

interface Tries {
  count: number
  /** Monotonic time at which the count is forgotten. */
  until: number
}

/** Keys held at once; above, the one whose window began first is forgotten. About 1 MiB. */
const MOST_KEYS = 10_000

export class AttemptLimiter {
  readonly #allowed: number
  readonly #windowMs: number
  readonly #clock: Clock
  /** In the order of their first failure, which is the order in which their windows end. */
  readonly #tries = new Map<string, Tries>()

  /** @param allowed failures in a window after which `isBlocked` is true until the window ends */
  constructor(allowed: number, windowMs: number, clock: Clock) {
    this.#allowed = allowed
    this.#windowMs = windowMs
    this.#clock = clock
  }

  /** false: `isBlocked` is, for every key. */
  get mayBlock(): boolean {
    return this.#tries.size > 0 || this.#allowed <= 0
  }

  isBlocked(key: string): boolean {
    return this.#current(key).count >= this.#allowed
  }

  /** Counts one failure; the first one begins the window. */
  countFailure(key: string): void {
    const tries = this.#current(key)
    tries.count++
    if (tries.count > 1) return
    this.#tries.delete(key)
    if (this.#tries.size >= MOST_KEYS) this.#tries.delete(this.#tries.keys().next().value!)
    this.#tries.set(key, tries)
  }

  #current(key: string): Tries {
    const now = this.#clock.monotonic()
    const tries = this.#tries.get(key)
    return tries !== undefined && tries.until > now ? tries : { count: 0, until: now + this.#windowMs }
  }
}

/**
 * The key for a peer's address: IPv4 whole, also when mapped into IPv6; IPv6 by its first 64 bits, since whoever has
 * one address of a network has them all.
 */
export function addressKey(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped !== null) return mapped[1]!
  if (!address.includes(':')) return address
  const [head = '', tail = ''] = address.replace(/%.*$/, '').split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === '' ? [] : tail.split(':')
  const zeros = address.includes('::')
    ? Array<string>(Math.max(0, 8 - before.length - after.length)).fill('0')
    : []
  const groups = [...before, ...zeros, ...after].slice(0, 4)
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}/64`
}

/** Whether the peer is on this host: anything that is not an IP address is a Unix socket. */
export function isLocal(address: string): boolean {
  const key = addressKey(address)
  return !/^[\d.]+$|:/.test(key) || key.startsWith('127.') || address === '::1'
}
