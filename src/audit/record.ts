// One audit record as one line of canonical JSON (RFC 8785), linked to the record before it by SHA-256.
// Owns the byte form that is hashed; reads and writes no file. docs/audit-format.md says it for other verifiers.

import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { Clock } from '../clock.ts'
import type { AuditEvent, DigestPort, PreparedRecord } from './event.ts'
import { MODELS } from './models.ts'
import { HASH_MEMBER_BYTES, writeHash, writeInteger, writePayload } from './record-bytes.ts'
import {
  connectionJson,
  identityJson,
  payloadJson,
  quote,
  resourceJson,
  rulesJson,
  wellFormed,
} from './record-json.ts'

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

/** What every record of a file has. */
interface Linked {
  v: 1
  /** 1 for the first record of a chain, then one more for each. */
  seq: number
  /** UTC with milliseconds, `2026-03-01T12:00:00.000Z`. */
  time: string
  /** Microseconds of a clock that never goes back; the origin differs from process to process. */
  mono: number
  /** `hash` of the record before. */
  prev: string
  /** SHA-256 over a zero byte and the canonical JSON of this record without `hash`: its leaf hash in the Merkle tree. */
  hash: string
}

/** A whole record: as it stands in the file, or put together from an entry of a batch and its model. */
export interface AuditRecord extends AuditEvent, Linked {
  instance: string
  /** Version (digest) of the policy in force; empty before one is loaded. */
  policy: string
  /** Entries of batches may refer to it. */
  model?: true
  /** It stands in the file as this entry, from 1, of a batch, and its model has the `seq` `as`. */
  entry?: number
  as?: number
}

/** An action that is as another one, but for this. */
export interface BatchEntry extends NonNullable<AuditEvent['payload']> {
  /** `seq` of its model, a record before it in the same file. */
  as: number
  packet_id?: number
}

/** Actions at one time, each like one before it, in one line. */
export interface BatchRecord extends Linked {
  batch: readonly BatchEntry[]
  action?: undefined
  gap?: undefined
  segment?: undefined
  signer?: undefined
}

/** What one line holds. */
export type WrittenRecord = AuditRecord | BatchRecord

/** When prepared records are made: one object for each different time. */
export interface Moment {
  /** Microseconds of the monotonic clock. */
  readonly mono: number
  /** The member `time`, with the comma before it. */
  readonly time: Uint8Array
}

export interface EncoderOptions {
  clock: Clock
  instance: string
  /** What prepared records have in common stands in a file once: the others are entries of batches. */
  short?: boolean | undefined
  /** Version of the policy in force. */
  policy: string
  /** Where the chain stands; the next record follows it. */
  head: ChainHead
}

/** Microseconds for which a moment is shared. */
const SHARED_US = 1000

/**
 * Turns events into lines and moves the chain on. Members are written in the order that RFC 8785 asks for, so that
 * no sorting is needed.
 */
export class RecordEncoder {
  readonly #clock: Clock
  readonly #instance: string
  #policy = ''
  #seq: number
  #hash: string
  readonly #connectionJson = memo(connectionJson)
  readonly #identityJson = memo(identityJson)
  #timeMs = Number.NaN
  #time = ''
  /** Of the record last encoded, or of one prepared since; see the getter. */
  #moment: Moment = { mono: Number.NaN, time: EMPTY }
  #isLate = false
  /** What prepared records hold besides their own: `policy` with what is around it. */
  #policyPart = EMPTY
  readonly #short: boolean
  /** Models in the file so far. */
  #models = 0
  /** Those of an earlier one are of no use any more. */
  #epoch = 1

  constructor(options: EncoderOptions) {
    this.#clock = options.clock
    this.#instance = quote(options.instance)
    this.#short = options.short === true
    this.policy = options.policy
    this.#seq = options.head.seq
    this.#hash = options.head.hash
    this.#readClock()
  }

  /** Of the last record. */
  get seq(): number {
    return this.#seq
  }

  get hash(): string {
    return this.#hash
  }

  get head(): ChainHead {
    return { seq: this.#seq, hash: this.#hash }
  }

  /** The same object until a `tick` at another time. Those of one millisecond are the same, so that they share a batch. */
  get moment(): Moment {
    if (this.#isLate) {
      this.#isLate = false
      if (this.#clock.monotonic() * 1000 - this.#moment.mono >= SHARED_US) this.#readClock()
    }
    return this.#moment
  }

  /** Version that the following records carry. */
  set policy(version: string) {
    this.#epoch += 1
    this.#policy = quote(version)
    this.#policyPart = Buffer.from(`},"policy":${this.#policy},"prev":"`)
  }

  /** The next record is the first of another file. */
  beginFile(): void {
    this.#epoch += 1
    this.#models = 0
  }

  /** The next line of the chain, without its newline. Numbers in `event` must be integers. */
  encode(event: AuditEvent): string {
    this.#readClock()
    const seq = this.#seq + 1
    let before = `{"action":"${event.action}"`
    if (event.cause !== undefined) before += `,"cause":${canonicalize(wellFormed(event.cause))}`
    if (event.connection !== undefined) before += `,"connection":${this.#connectionJson(event.connection)}`
    before += `,"decision":"${event.decision}"`
    if (event.detail !== undefined) before += `,"detail":${quote(event.detail)}`
    before += `,"effect":${quote(event.effect)}`
    if (event.gap !== undefined) before += `,"gap":${canonicalize(event.gap)}`
    if (event.grant !== undefined) before += `,"grant":${canonicalize(wellFormed(event.grant))}`

    // `hash` sorts between `grant` and `identity`.
    let after = ''
    if (event.identity !== undefined) after += `,"identity":${this.#identityJson(event.identity)}`
    after += `,"instance":${this.#instance},"mono":${this.#moment.mono}`
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

    const hashed = `\0${before}${after}`
    this.#hash = hash('sha256', hashed)
    this.#seq = seq
    // Cut out of the hashed string, which is flat by now, so that the parts are not joined a second time.
    const cut = before.length + 1
    return `${hashed.slice(1, cut)},"hash":"${this.#hash}"${hashed.slice(cut)}`
  }

  /** The prepared records that follow are of another time, unless there are none. */
  tick(): void {
    this.#isLate = true
  }

  #readClock(): void {
    const mono = Math.round(this.#clock.monotonic() * 1000)
    const ms = this.#clock.now()
    if (ms !== this.#timeMs) {
      this.#timeMs = ms
      this.#time = new Date(ms).toISOString()
      this.#moment = { mono, time: Buffer.from(`,"time":"${this.#time}"`) }
    } else if (mono !== this.#moment.mono) this.#moment = { mono, time: this.#moment.time }
  }

  /** What is the same in all records that differ from `event` in payload and Packet Identifier only. */
  prepare(event: AuditEvent, digest: DigestPort['name'] | undefined): PreparedRecord {
    let head = `{"action":"${event.action}"`
    if (event.connection !== undefined) head += `,"connection":${this.#connectionJson(event.connection)}`
    head += `,"decision":"${event.decision}","effect":${quote(event.effect)}`
    const identity = event.identity === undefined ? '' : `,"identity":${this.#identityJson(event.identity)}`
    let reason = `","reason":${quote(event.reason)}`
    if (event.resource !== undefined) reason += `,"resource":${resourceJson(event.resource)}`
    if (event.rules !== undefined) reason += `,"rules":${rulesJson(event.rules)}`
    const end = event.traceparent === undefined ? '' : `,"traceparent":${quote(event.traceparent)}`
    const model = this.#short ? ',"model":true' : ''
    return {
      event,
      head: Buffer.from(head),
      identity: Buffer.from(`${identity},"instance":${this.#instance}${model},"mono":`),
      reason: Buffer.from(`${reason},"seq":`),
      end: Buffer.from(`${end},"v":1}`),
      digest,
      model: { epoch: 0, number: 0, as: EMPTY },
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
      this.moment.time.length
    return own + HASH_MEMBER_BYTES + OTHER_MEMBERS_BYTES
  }

  /** A batch can hold it: the file has a model for it. */
  hasModel({ model }: PreparedRecord): boolean {
    return model.epoch === this.#epoch && this.#models - model.number < MODELS
  }

  /**
   * The next line of the chain, written to `target` at `at`, without its newline: the same as `encode` makes. The byte
   * before it is written too.
   *
   * @param digest hex, by the method of `record`
   * @param packetId 0: none
   * @returns where it ends
   */
  encodePrepared(
    target: Buffer,
    at: number,
    record: PreparedRecord,
    payloadLength: number,
    digest: string,
    packetId: number,
  ): number {
    const { head, identity, reason } = record
    const { mono, time } = this.moment
    target.set(head, at)
    let end = at + head.length
    target.set(identity, end)
    end = writeInteger(target, end + identity.length, mono)
    if (packetId > 0) {
      end += target.write(',"packet_id":', end, 'latin1')
      end = writeInteger(target, end, packetId)
    }
    end = writePayload(target, end, payloadLength, record.digest, digest)
    target.set(this.#policyPart, end)
    end += this.#policyPart.length
    end += target.write(this.#hash, end, 'latin1')
    target.set(reason, end)
    this.#seq += 1
    end = writeInteger(target, end + reason.length, this.#seq)
    target.set(time, end)
    end += time.length
    target.set(record.end, end)
    end += record.end.length
    end = this.#link(target, at, at + head.length, end)
    if (this.#short) this.#becomesModel(record)
    return end
  }

  /**
   * Ends a batch, the next line of the chain.
   *
   * @param start where `{"batch":[` and its entries begin; the byte before it is written too
   * @param end where they end
   * @returns where the line ends, without its newline: at most BATCH_END_BYTES later
   */
  endBatch(target: Buffer, start: number, end: number, { mono, time }: Moment): number {
    let at = end
    target.set(MONO, at)
    at = writeInteger(target, at + MONO.length, mono)
    target.set(PREV, at)
    at += PREV.length
    at += target.write(this.#hash, at, 'latin1')
    target.set(SEQ, at)
    this.#seq += 1
    at = writeInteger(target, at + SEQ.length, this.#seq)
    target.set(time, at)
    at += time.length
    target.set(END, at)
    // `hash` stands behind the bracket.
    return this.#link(target, start, end + 1, at + END.length)
  }

  /** Makes the record between `start` and `end` the last of the chain, and puts its hash in `at`. */
  #link(target: Buffer, start: number, at: number, end: number): number {
    const before = target[start - 1]!
    target[start - 1] = 0
    this.#hash = hash('sha256', target.subarray(start - 1, end))
    target[start - 1] = before
    return writeHash(target, at, end, this.#hash)
  }

  #becomesModel({ model, digest }: PreparedRecord): void {
    this.#models += 1
    model.number = this.#models
    model.epoch = this.#epoch
    // Up to what differs.
    const next = digest === 'hmac_sha256' ? '"hmac_sha256":"' : '"length":'
    model.as = Buffer.from(`,{"as":${this.#seq},${next}`)
  }
}

/** Of what comes again and again from one connection; nothing is kept for those that say nothing. */
function memo<T extends object>(toJson: (part: T) => string): (part: T) => string {
  let last: T | undefined
  let json = ''
  return (part) => {
    if (part !== last) {
      json = toJson(part)
      last = part
    }
    return json
  }
}

/** `mono`, `packet_id`, `payload`, `prev` and `seq` at their longest. */
const OTHER_MEMBERS_BYTES = 320
/** `endBatch` writes no more. */
export const BATCH_END_BYTES = 320
/** Of batches, between what differs. */
const MONO = Buffer.from('],"mono":')
const PREV = Buffer.from(',"prev":"')
const SEQ = Buffer.from('","seq":')
const END = Buffer.from(',"v":1}')
