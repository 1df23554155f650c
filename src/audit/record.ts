// One audit record as one line of canonical JSON (RFC 8785), linked to the record before it by SHA-256.
// Owns the byte form that is hashed; reads and writes no file. docs/audit-format.md says it for other verifiers.

import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { Clock } from '../clock.ts'
import type { AuditEvent, PayloadDigest, PreparedRecord } from './event.ts'

/** Sequence number and hash of the last record of a chain. */
export interface ChainHead {
  seq: number
  /** Lower-case hex SHA-256. */
  hash: string
}

/** What the first record of a chain follows: its `seq` is 1, its `prev` 64 zeros. */
export const GENESIS: ChainHead = { seq: 0, hash: '0'.repeat(64) }

const EMPTY = Buffer.alloc(0)

/** No record is longer; MQTT's longest strings, all escaped, stay below it. */
export const MAX_RECORD_BYTES = 4 * 1024 * 1024

/** A record as it stands in the file. */
export interface AuditRecord extends AuditEvent {
  v: 1
  /** 1 for the first record of a chain, then one more for each. */
  seq: number
  /** UTC with milliseconds, `2026-03-01T12:00:00.000Z`. */
  time: string
  /** Microseconds of a clock that never goes back; the origin differs from process to process. */
  mono: number
  instance: string
  /** Version (digest) of the policy in force; empty before one is loaded. */
  policy: string
  /** `hash` of the record before. */
  prev: string
  /** SHA-256 over the canonical JSON of this record without `hash`. */
  hash: string
}

export interface EncoderOptions {
  clock: Clock
  instance: string
  /** Version of the policy in force. */
  policy: string
  /** Where the chain stands; the next record follows it. */
  head: ChainHead
}

/**
 * Turns events into lines and moves the chain on. Members are written in the order that RFC 8785 asks for, so that
 * no sorting is needed; identity and connection are serialised once per object.
 */
export class RecordEncoder {
  readonly #clock: Clock
  readonly #instance: string
  #policy = ''
  #seq: number
  #hash: string
  readonly #perConnection = new WeakMap<object, string>()
  #timeMs = Number.NaN
  #time = ''
  /** Microseconds; of the record last encoded, or of a later `tick`. */
  #mono = 0
  /** What prepared records hold besides their own: `policy` with what is around it, and `time`. */
  #policyPart = EMPTY
  #timePart = EMPTY

  constructor(options: EncoderOptions) {
    this.#clock = options.clock
    this.#instance = quote(options.instance)
    this.policy = options.policy
    this.#seq = options.head.seq
    this.#hash = options.head.hash
  }

  /** Of the last record. */
  get seq(): number {
    return this.#seq
  }

  get head(): ChainHead {
    return { seq: this.#seq, hash: this.#hash }
  }

  /** Version that the following records carry. */
  set policy(version: string) {
    this.#policy = quote(version)
    this.#policyPart = Buffer.from(`},"policy":${this.#policy},"prev":"`)
  }

  /** The next line of the chain, without its newline. Numbers in `event` must be integers. */
  encode(event: AuditEvent): string {
    this.tick()
    const seq = this.#seq + 1
    let before = `{"action":"${event.action}"`
    if (event.cause !== undefined) before += `,"cause":${canonicalize(wellFormed(event.cause))}`
    if (event.connection !== undefined) before += `,"connection":${this.#kept(event.connection)}`
    before += `,"decision":"${event.decision}"`
    if (event.detail !== undefined) before += `,"detail":${quote(event.detail)}`
    before += `,"effect":${quote(event.effect)}`
    if (event.gap !== undefined) before += `,"gap":${canonicalize(event.gap)}`
    if (event.grant !== undefined) before += `,"grant":${canonicalize(wellFormed(event.grant))}`

    // `hash` sorts between `grant` and `identity`.
    let after = ''
    if (event.identity !== undefined) after += `,"identity":${this.#kept(event.identity)}`
    after += `,"instance":${this.#instance},"mono":${this.#mono}`
    if (event.packet_id !== undefined) after += `,"packet_id":${event.packet_id}`
    if (event.payload !== undefined) after += `,"payload":${payloadJson(event.payload)}`
    after += `,"policy":${this.#policy},"prev":"${this.#hash}","reason":${quote(event.reason)}`
    if (event.repeated !== undefined) after += `,"repeated":${canonicalize(event.repeated)}`
    if (event.resource !== undefined) after += `,"resource":${resourceJson(event.resource)}`
    if (event.rules !== undefined) after += `,"rules":${rulesJson(event.rules)}`
    if (event.segment !== undefined) after += `,"segment":${canonicalize(event.segment)}`
    after += `,"seq":${seq}`
    if (event.signer !== undefined) after += `,"signer":${quote(event.signer)}`
    after += `,"time":"${this.#time}"`
    if (event.traceparent !== undefined) after += `,"traceparent":${quote(event.traceparent)}`
    after += ',"v":1}'

    const hashed = before + after
    this.#hash = hash('sha256', hashed)
    this.#seq = seq
    // Cut out of the hashed string, which is flat by now, so that the parts are not joined a second time.
    return `${hashed.slice(0, before.length)},"hash":"${this.#hash}"${hashed.slice(before.length)}`
  }

  #kept(part: object): string {
    let json = this.#perConnection.get(part)
    if (json === undefined) {
      json = canonicalize(wellFormed(part))!
      this.#perConnection.set(part, json)
    }
    return json
  }

  /** Reads the clock for the prepared records that follow. */
  tick(): void {
    this.#mono = Math.round(this.#clock.monotonic() * 1000)
    const ms = this.#clock.now()
    if (ms === this.#timeMs) return
    this.#timeMs = ms
    this.#time = new Date(ms).toISOString()
    this.#timePart = Buffer.from(`,"time":"${this.#time}"`)
  }

  /** What is the same in all records that differ from `event` in payload and Packet Identifier only. */
  prepare(event: AuditEvent): PreparedRecord {
    let head = `{"action":"${event.action}"`
    if (event.connection !== undefined) head += `,"connection":${this.#kept(event.connection)}`
    head += `,"decision":"${event.decision}","effect":${quote(event.effect)}`
    const identity = event.identity === undefined ? '' : `,"identity":${this.#kept(event.identity)}`
    let reason = `","reason":${quote(event.reason)}`
    if (event.resource !== undefined) reason += `,"resource":${resourceJson(event.resource)}`
    if (event.rules !== undefined) reason += `,"rules":${rulesJson(event.rules)}`
    const end = event.traceparent === undefined ? '' : `,"traceparent":${quote(event.traceparent)}`
    return {
      event,
      head: Buffer.from(head),
      identity: Buffer.from(`${identity},"instance":${this.#instance},"mono":`),
      reason: Buffer.from(`${reason},"seq":`),
      end: Buffer.from(`${end},"v":1}`),
    }
  }

  /** Room that `encodePrepared` needs at most. */
  roomFor({ head, identity, reason, end }: PreparedRecord): number {
    const own =
      head.length +
      identity.length +
      reason.length +
      end.length +
      this.#policyPart.length +
      this.#timePart.length
    return own + HASH_MEMBER_BYTES + OTHER_MEMBERS_BYTES
  }

  /**
   * The same line as `encode` makes, written to `target` at `at`, without its newline.
   *
   * @param packetId 0: none
   * @returns where it ends
   */
  encodePrepared(
    target: Buffer,
    at: number,
    record: PreparedRecord,
    payloadLength: number,
    digest: PayloadDigest | undefined,
    packetId: number,
  ): number {
    const { head, identity, reason } = record
    // What is hashed has no member `hash`: it is written behind the place for it, and its first part then moved forward.
    const start = at + HASH_MEMBER_BYTES
    target.set(head, start)
    let end = start + head.length
    target.set(identity, end)
    end = writeInteger(target, end + identity.length, this.#mono)
    if (packetId > 0) {
      end += target.write(',"packet_id":', end, 'latin1')
      end = writeInteger(target, end, packetId)
    }
    if (digest?.name === 'hmac_sha256') {
      end += target.write(`,"payload":{"hmac_sha256":"${digest.hex}","length":`, end, 'latin1')
    } else {
      target.set(PAYLOAD_LENGTH, end)
      end += PAYLOAD_LENGTH.length
    }
    end = writeInteger(target, end, payloadLength)
    if (digest?.name === 'sha256') end += target.write(`,"sha256":"${digest.hex}"`, end, 'latin1')
    target.set(this.#policyPart, end)
    end += this.#policyPart.length
    end += target.write(this.#hash, end, 'latin1')
    target.set(reason, end)
    this.#seq += 1
    end = writeInteger(target, end + reason.length, this.#seq)
    target.set(this.#timePart, end)
    end += this.#timePart.length
    target.set(record.end, end)
    end += record.end.length

    this.#hash = hash('sha256', target.subarray(start, end))
    target.set(head, at)
    target.write(`,"hash":"${this.#hash}"`, at + head.length, 'latin1')
    return end
  }
}

/** `,"hash":"`, 64 digits, `"`. */
const HASH_MEMBER_BYTES = 74
/** `mono`, `packet_id`, `payload`, `prev` and `seq` at their longest. */
const OTHER_MEMBERS_BYTES = 320
const PAYLOAD_LENGTH = Buffer.from(',"payload":{"length":')

/** Decimal digits of a non-negative integer; returns where they end. */
function writeInteger(target: Buffer, at: number, value: number): number {
  let digits = 1
  for (let limit = 10; value >= limit; limit *= 10) digits += 1
  const end = at + digits
  let rest = value
  for (let i = end - 1; i >= at; i--) {
    const next = Math.floor(rest / 10)
    target[i] = 0x30 + rest - next * 10
    rest = next
  }
  return end
}

/** Characters that stand for themselves in JSON; most strings have no others, and the test is cheaper than quoting. */
const PLAIN = /^[ !#-[\]-~]*$/

/** RFC 8785 §3.2.2.2 strings are those of JSON.stringify, except that lone surrogates are an error there. */
function quote(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text.toWellFormed())
}

/** Claim values may hold lone surrogates (`"\ud800"` is legal JSON); canonical JSON cannot. */
function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed()
  if (Array.isArray(value)) return value.map(wellFormed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name.toWellFormed(), wellFormed(member)]),
  )
}

function payloadJson(payload: NonNullable<AuditEvent['payload']>): string {
  if (payload.hmac_sha256 !== undefined) {
    return `{"hmac_sha256":${quote(payload.hmac_sha256)},"length":${payload.length}}`
  }
  if (payload.sha256 === undefined) return `{"length":${payload.length}}`
  return `{"length":${payload.length},"sha256":${quote(payload.sha256)}}`
}

function resourceJson(resource: NonNullable<AuditEvent['resource']>): string {
  let json = ''
  if (resource.correlation_hmac_sha256 !== undefined) {
    json += `,"correlation_hmac_sha256":${quote(resource.correlation_hmac_sha256)}`
  }
  if (resource.correlation_sha256 !== undefined) {
    json += `,"correlation_sha256":${quote(resource.correlation_sha256)}`
  }
  if (resource.filter !== undefined) json += `,"filter":${quote(resource.filter)}`
  if (resource.qos !== undefined) json += `,"qos":${resource.qos}`
  if (resource.response_topic !== undefined) json += `,"response_topic":${quote(resource.response_topic)}`
  if (resource.retain !== undefined) json += `,"retain":${resource.retain}`
  if (resource.topic !== undefined) json += `,"topic":${quote(resource.topic)}`
  return `{${json.slice(1)}}`
}

function rulesJson(rules: Readonly<Record<string, string>>): string {
  const layers = Object.keys(rules)
  // Mended names could be equal, or sort elsewhere.
  if (!layers.every((layer) => layer.isWellFormed())) return canonicalize(wellFormed(rules))!
  let json = ''
  for (const layer of layers.sort()) json += `,${quote(layer)}:${quote(rules[layer]!)}`
  return `{${json.slice(1)}}`
}
