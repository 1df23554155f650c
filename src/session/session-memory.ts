// What Postern remembers of MQTT sessions that outlive a connection, so that a resumed one (Session Present 1) is
// judged by today's rights: the subscriptions that the broker holds, and QoS 2 messages it has not released.
// It lives in this process only. What it does not know is caught by the delivery check and by `unknownRelease`.

import type { Clock } from '../clock.ts'
import type { Principal } from '../identity/principal.ts'
import type { PublishRequest } from '../policy/request.ts'

/** A QoS 2 PUBLISH that was forwarded and whose PUBREL has not been completed. */
export interface Release {
  topic: Buffer
  response: Buffer | undefined
  retain: boolean
  payloadLength: number
  /** Allowed by a just-in-time grant, which is used up by that. */
  granted: boolean
  /** `Rights.serial` under which it was allowed. */
  serial: number
  /** By whose rights it was allowed; undefined: by those of the connection. */
  bearer: Principal | undefined
  /** Its PUBREL was forwarded: until PUBCOMP nothing else may go under its Packet Identifier. */
  releasing: boolean
}

/** What is to be remembered of an allowed QoS 2 PUBLISH; copies, since the request is filled anew. */
export function releaseOf(request: PublishRequest, serial: number, bearer: Principal | undefined): Release {
  const {
    topic,
    topicStart,
    topicEnd,
    response,
    responseStart,
    responseEnd,
    retain,
    payloadLength,
    granted,
  } = request
  return {
    topic: Buffer.from(topic.subarray(topicStart, topicEnd)),
    response: responseStart < 0 ? undefined : Buffer.from(response.subarray(responseStart, responseEnd)),
    retain,
    payloadLength,
    granted,
    serial,
    bearer,
    releasing: false,
  }
}

/**
 * Bytes of Topic Filters, and of Topic Names of unreleased messages, that one session may make us keep; requests that
 * the server has not answered count too.
 */
const MAXIMUM_BYTES = 1024 * 1024

// Nothing is written to these: each session has its own once there is something to remember.
const NO_SUBSCRIPTIONS = new Map<string, number>()
const NO_RELEASES = new Map<number, Release>()

export class SessionState {
  /** Full Topic Filter as subscribed (with `$share/…`) -> requested QoS. */
  #subscriptions = NO_SUBSCRIPTIONS
  /** Packet Identifier -> message. */
  #releases = NO_RELEASES
  #bytes = 0
  /** Of this connection's requests without an answer; the next connection of the session starts without any. */
  #pendingBytes = 0

  /** Topic Filter and requested QoS. */
  get subscriptions(): ReadonlyMap<string, number> {
    return this.#subscriptions
  }

  /** Packet Identifier and message. */
  get releases(): ReadonlyMap<number, Release> {
    return this.#releases
  }

  subscribed(filter: string, qos: number): void {
    if (this.#subscriptions === NO_SUBSCRIPTIONS) this.#subscriptions = new Map()
    if (!this.#subscriptions.has(filter)) this.#bytes += filter.length
    this.#subscriptions.set(filter, qos)
  }

  unsubscribed(filter: string): void {
    if (this.#subscriptions.delete(filter)) this.#bytes -= filter.length
  }

  releaseOf(packetId: number): Release | undefined {
    return this.#releases.get(packetId)
  }

  /**
   * Whether a QoS 2 message may go under its Packet Identifier. The server keeps the first one until PUBREL, whatever
   * follows under the same identifier [MQTT-4.3.3-10]: another topic would be judged, and the first one published.
   *
   * @param bearer of the message, if it has its own: that of another token is another message
   */
  isFreeFor(packetId: number, message: PublishRequest, bearer: Principal | undefined): boolean {
    const held = this.#releases.get(packetId)
    if (held === undefined) return true
    if (held.releasing) return false
    const { topic, topicStart, topicEnd, response, responseStart, responseEnd } = message
    return (
      held.topic.compare(topic, topicStart, topicEnd) === 0 &&
      (held.response === undefined
        ? responseStart < 0
        : responseStart >= 0 && held.response.compare(response, responseStart, responseEnd) === 0) &&
      held.bearer?.tokenDigest === bearer?.tokenDigest &&
      held.retain === message.retain &&
      held.payloadLength === message.payloadLength &&
      // A grant is for the message that it came with, and may be for its payload only.
      (held.granted || !message.granted)
    )
  }

  forwarded(packetId: number, release: Release): void {
    this.released(packetId)
    this.#bytes += sizeOf(release)
    if (this.#releases === NO_RELEASES) this.#releases = new Map()
    this.#releases.set(packetId, release)
  }

  released(packetId: number): void {
    const release = this.#releases.get(packetId)
    if (release === undefined) return
    this.#bytes -= sizeOf(release)
    this.#releases.delete(packetId)
  }

  /** The same content for the next connection of the session. */
  handOver(): SessionState {
    const next = new SessionState()
    for (const [filter, qos] of this.#subscriptions) next.subscribed(filter, qos)
    for (const [packetId, release] of this.#releases) next.forwarded(packetId, release)
    return next
  }

  /** Takes `bytes` for a request that is on its way to the server, until `answered`. */
  requested(bytes: number): void {
    this.#pendingBytes += bytes
  }

  answered(bytes: number): void {
    this.#pendingBytes -= bytes
  }

  /** Whether `bytes` more may be kept. */
  hasRoomFor(bytes: number): boolean {
    return this.#bytes + this.#pendingBytes + bytes <= MAXIMUM_BYTES
  }

  /** Whether an UNSUBSCRIBE of `bytes` may wait: beside other requests only, since a full session must be able to shrink. */
  hasRoomToUnsubscribe(bytes: number): boolean {
    return this.#pendingBytes + bytes <= MAXIMUM_BYTES
  }
}

/** The message as it was when it was judged. */
export function fillRequest(request: PublishRequest, { topic, response, ...rest }: Release): void {
  request.topic = topic
  request.topicStart = 0
  request.topicEnd = topic.length
  request.qos = 2
  request.retain = rest.retain
  request.payloadLength = rest.payloadLength
  request.granted = rest.granted
  request.response = response ?? topic
  request.responseStart = response === undefined ? -1 : 0
  request.responseEnd = response === undefined ? -1 : response.length
}

function sizeOf(release: Release): number {
  return release.topic.length + (release.response?.length ?? 0)
}

/** Session Expiry Interval that never ends. MQTT 5.0 §3.1.2.11.2. */
const NEVER = 0xffff_ffff

/** No `Rights.serial` of this process. */
const ELSEWHERE = -1

interface Entry {
  /** For whom the session was opened, as one text that no other bearer has. */
  owner: string
  state: SessionState
  /** Milliseconds since the epoch; Infinity while connected or when it never ends. */
  endsAtMs: number
}

/**
 * Whose the session of a name is: `foreign` when it is remembered as somebody else's; `busy` when somebody else is about
 * to be given this name; `full` when no connection more is to reach the server.
 */
export type Claim = 'own' | 'foreign' | 'busy' | 'full'

/** Where sessions are remembered: in this process, or in another one that is asked. */
export interface Memory {
  /**
   * Keeps a name for one owner from its CONNECT to its CONNACK: two owners at once could be given each other's session,
   * by the order in which the server happens to take them. `release` must follow unless it is busy or full.
   */
  claim(clientId: string, owner: string): Claim | Promise<Claim>
  release(clientId: string, owner: string): void
  /** To be waited for between the first byte of a CONNACK and `open`; undefined: all is here. */
  recall?(clientId: string): Promise<void>
  open(clientId: string, owner: string, resumed: boolean): SessionState
  close(clientId: string, state: SessionState, expiryIntervalS: number): void
}

/** A remembered session as plain data, for another process. */
export interface Remembered {
  owner: string
  subscriptions: [filter: string, qos: number][]
  releases: [packetId: number, release: Release][]
  /** Milliseconds since the epoch; Infinity while connected or when it never ends. */
  endsAtMs: number
}

export class SessionMemory implements Memory {
  readonly #clock: Clock
  readonly #maximum: number
  /** In order of last use, oldest first. */
  readonly #entries = new Map<string, Entry>()
  /** Names between CONNECT and CONNACK; `limits.unauthenticated` bounds them. */
  readonly #reserved = new Map<string, { owner: string; count: number }>()

  /** @param maximum sessions remembered; the one unused for longest is forgotten first */
  constructor(clock: Clock, maximum: number) {
    this.#clock = clock
    this.#maximum = maximum
  }

  claim(clientId: string, owner: string): Claim {
    const held = this.#reserved.get(clientId)
    if (held !== undefined && held.owner !== owner) return 'busy'
    this.#reserved.set(clientId, { owner, count: (held?.count ?? 0) + 1 })
    return this.isForeign(clientId, owner) ? 'foreign' : 'own'
  }

  release(clientId: string, owner: string): void {
    const held = this.#reserved.get(clientId)
    if (held === undefined || held.owner !== owner) return
    if (held.count > 1) held.count -= 1
    else this.#reserved.delete(clientId)
  }

  /** Whether the session of this name is remembered as somebody else's, expired or not: the broker has another clock. */
  isForeign(clientId: string, owner: string): boolean {
    const known = this.#entries.get(clientId)
    return known !== undefined && known.owner !== owner
  }

  /**
   * The state of a session at CONNACK: the remembered one if the broker resumed it, else a new one.
   *
   * @param owner for whom; what is remembered of another owner is never handed over
   */
  open(clientId: string, owner: string, resumed: boolean): SessionState {
    const known = this.#entries.get(clientId)
    const isOwn = resumed && known !== undefined && known.owner === owner
    const alive = isOwn && known.endsAtMs > this.#clock.now()
    // A state of its own, so that the late close of a connection that was taken over does not end this one.
    const state = alive ? known.state.handOver() : new SessionState()
    this.#entries.delete(clientId)
    this.#entries.set(clientId, { owner, state, endsAtMs: Number.POSITIVE_INFINITY })
    if (this.#entries.size > this.#maximum) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest)
        break
      }
    }
    return state
  }

  /**
   * The connection ended; a session that somebody else has taken over meanwhile stays as it is.
   *
   * @param expiryIntervalS Session Expiry Interval in force, seconds
   */
  close(clientId: string, state: SessionState, expiryIntervalS: number): void {
    const entry = this.#entries.get(clientId)
    if (entry === undefined || entry.state !== state) return
    if (expiryIntervalS === 0) this.#entries.delete(clientId)
    else if (expiryIntervalS !== NEVER) entry.endsAtMs = this.#clock.now() + expiryIntervalS * 1000
  }

  /** Whether this is the state of the session's latest connection. */
  isCurrent(clientId: string, state: SessionState): boolean {
    return this.#entries.get(clientId)?.state === state
  }

  /** What is remembered, for another process. */
  look(clientId: string): Remembered | undefined {
    const entry = this.#entries.get(clientId)
    if (entry === undefined) return undefined
    const { owner, state, endsAtMs } = entry
    return { owner, endsAtMs, subscriptions: [...state.subscriptions], releases: [...state.releases] }
  }

  /** What another process remembers. */
  put(clientId: string, { owner, subscriptions, releases, endsAtMs }: Remembered): void {
    const state = new SessionState()
    for (const [filter, qos] of subscriptions) state.subscribed(filter, qos)
    // Serials of rights are counted in each process: no rights here are those under which it was allowed there.
    for (const [packetId, release] of releases) state.forwarded(packetId, { ...release, serial: ELSEWHERE })
    this.#entries.set(clientId, { owner, state, endsAtMs })
  }

  forget(clientId: string): void {
    this.#entries.delete(clientId)
  }
}
