// Turns a flood of identical actions into counted records: the same connection, action, topic and verdict. Above the
// configured rate they are summed, never dropped, and the sums are records of the chain. Knows no disk.

import type { Clock, Timer } from '../clock.ts'
import type { AuditAction, AuditEvent, AuditSink, DigestPort, PreparedRecord } from './event.ts'

export interface RepeatOptions {
  clock: Clock
  /** Identical actions in one second that have a record each. */
  rate: number
  /** Milliseconds after which a sum becomes a record at the latest. */
  interval: number
  /** `write-ahead`: sums are written before what they count leaves. */
  flushOnCommit: boolean
}

/** What an agent can repeat without end. */
const COUNTED: ReadonlySet<AuditAction> = new Set([
  'publish',
  'deliver',
  'subscribe',
  'unsubscribe',
  'release',
])
const WINDOW_MS = 1000
/** Different actions that are kept in mind for one connection. */
const MAX_KINDS = 1000

type Connection = NonNullable<AuditEvent['connection']>

/** Actions that count as the same. */
interface Kind {
  /** Whether it is in the map of its connection: what is not is written by nobody. */
  kept: boolean
  windowStart: number
  /** Records of their own since then. */
  inWindow: number
  sum: { event: AuditEvent; count: number; firstMs: number; lastMs: number; bytes: number } | undefined
}

export class RepeatCounter implements AuditSink {
  readonly #next: AuditSink
  readonly #options: RepeatOptions
  readonly #connections = new Map<Connection, Map<string, Kind>>()
  #timer: Timer | undefined
  /** At the last `tick`: milliseconds of the monotonic clock, and since the epoch. */
  #mono = 0
  #now = 0

  constructor(next: AuditSink, options: RepeatOptions) {
    this.#next = next
    this.#options = options
  }

  get accepting(): boolean {
    return this.#next.accepting
  }

  get congested(): boolean {
    return this.#next.congested
  }

  whenRoom(call: () => void): void {
    this.#next.whenRoom(call)
  }

  append(event: AuditEvent): void {
    const { connection } = event
    // Which grant allowed an action is never summed away.
    if (connection === undefined || !COUNTED.has(event.action) || event.grant !== undefined) {
      if (connection !== undefined && event.action === 'disconnect') this.#forget(connection)
      this.#next.append(event)
      return
    }
    const kind = this.#kindOf(connection, event)
    this.#readClock()
    if (this.#hasRoom(kind)) {
      kind.inWindow += 1
      this.#next.append(event)
    } else this.#sum(kind, event, event.payload?.length ?? 0, 1)
  }

  prepare(event: AuditEvent, digest: DigestPort['name'] | undefined): PreparedRecord {
    return this.#next.prepare(event, digest)
  }

  count(record: PreparedRecord, payloadBytes: number, times: number): boolean {
    let kind = record.kind as Kind | undefined
    if (kind === undefined || !kind.kept) {
      const { connection, action } = record.event
      if (connection === undefined || !COUNTED.has(action)) return false
      kind = this.#kindOf(connection, record.event)
      record.kind = kind
    }
    if (this.#hasRoom(kind)) return false
    if (times > 0) this.#sum(kind, record.event, payloadBytes, times)
    return true
  }

  appendPrepared(record: PreparedRecord, length: number, digest: string, packetId: number): void {
    const kind = record.kind as Kind | undefined
    if (kind?.kept === true) kind.inWindow += 1
    this.#next.appendPrepared(record, length, digest, packetId)
  }

  tick(): void {
    this.#readClock()
    this.#next.tick()
  }

  commit(): boolean {
    if (this.#options.flushOnCommit) this.flush()
    return this.#next.commit()
  }

  /** Every sum becomes a record now: before the policy changes, and before the end. */
  flush(): void {
    for (const kinds of this.#connections.values()) this.#write(kinds)
  }

  #kindOf(connection: Connection, event: AuditEvent): Kind {
    let kinds = this.#connections.get(connection)
    if (kinds === undefined) {
      kinds = new Map()
      this.#connections.set(connection, kinds)
      this.#timer ??= this.#options.clock.after(this.#options.interval, () => this.#tick())
    }
    const key = keyOf(event)
    let kind = kinds.get(key)
    if (kind === undefined) {
      if (kinds.size >= MAX_KINDS) {
        this.#write(kinds)
        for (const each of kinds.values()) each.kept = false
        kinds.clear()
      }
      kind = {
        kept: true,
        windowStart: Number.NEGATIVE_INFINITY,
        inWindow: 0,
        sum: undefined,
      }
      kinds.set(key, kind)
    }
    return kind
  }

  #readClock(): void {
    this.#mono = this.#options.clock.monotonic()
    this.#now = this.#options.clock.now()
  }

  /** Whether one more action of this kind is to have a record of its own. */
  #hasRoom(kind: Kind): boolean {
    if (this.#mono - kind.windowStart >= WINDOW_MS) {
      kind.windowStart = this.#mono
      kind.inWindow = 0
    }
    return kind.inWindow < this.#options.rate
  }

  #sum(kind: Kind, event: AuditEvent, bytes: number, times: number): void {
    const now = this.#now
    kind.sum ??= { event, count: 0, firstMs: now, lastMs: now, bytes: 0 }
    kind.sum.count += times
    kind.sum.lastMs = now
    kind.sum.bytes += bytes
  }

  #write(kinds: ReadonlyMap<string, Kind>): void {
    for (const kind of kinds.values()) {
      const { sum } = kind
      if (sum === undefined) continue
      kind.sum = undefined
      const { action, decision, reason, effect, identity, connection, rules, resource, detail } = sum.event
      this.#next.append({
        ...{ action, decision, reason, effect, identity, connection, rules, detail },
        resource: resource && withoutCorrelation(resource),
        repeated: {
          count: sum.count,
          first: new Date(sum.firstMs).toISOString(),
          last: new Date(sum.lastMs).toISOString(),
          bytes: sum.bytes,
        },
      })
    }
  }

  #forget(connection: Connection): void {
    const kinds = this.#connections.get(connection)
    if (kinds === undefined) return
    this.#write(kinds)
    for (const kind of kinds.values()) kind.kept = false
    this.#connections.delete(connection)
  }

  /** Writes all sums, and forgets what was not repeated lately. */
  #tick(): void {
    this.#timer = undefined
    this.flush()
    const { clock, interval } = this.#options
    const now = clock.monotonic()
    for (const [connection, kinds] of this.#connections) {
      for (const [key, kind] of kinds) {
        if (now - kind.windowStart < WINDOW_MS) continue
        kind.kept = false
        kinds.delete(key)
      }
      if (kinds.size === 0) this.#connections.delete(connection)
    }
    if (this.#connections.size > 0) this.#timer = clock.after(interval, () => this.#tick())
  }
}

/** Equal for actions of one connection and token that differ in nothing but time, packet, payload and Correlation Data. */
function keyOf({ action, decision, reason, effect, resource, rules, identity, detail }: AuditEvent): string {
  const { topic, filter, qos, retain, response_topic } = resource ?? {}
  const token = identity?.token?.sha256
  return JSON.stringify([
    ...[action, decision, reason, effect, topic, filter, qos, retain, response_topic, rules],
    ...[token, detail],
  ])
}

function withoutCorrelation(resource: NonNullable<AuditEvent['resource']>): typeof resource {
  const { correlation_sha256: _, correlation_hmac_sha256: __, ...rest } = resource
  return rest
}
