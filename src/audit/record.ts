// One audit record as one line of canonical JSON (RFC 8785), linked to the record before it by SHA-256.
// Owns the byte form that is hashed; reads and writes no file. docs/audit-format.md says it for other verifiers.

import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { Clock } from '../clock.ts'
import type { AuditEvent, PayloadDigest, PreparedRecord } from './event.ts'
import { MODELS } from './models.ts'
import { writeInteger, writePayload } from './record-bytes.ts'
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

/** A whole record: as it stands in the file, or put together from a short one and its model. */
export interface AuditRecord extends AuditEvent, Linked {
  instance: string
  /** Version (digest) of the policy in force; empty before one is loaded. */
  policy: string
  /** Short records may refer to it. */
  model?: true
  /** It stands in the file as a short record, and its model has this `seq`. */
  as?: number
}

/** A record that is as another one, but for what it has itself. */
export interface ShortRecord extends Linked, Pick<AuditRecord, 'packet_id' | 'payload'> {
  /** `seq` of its model, a record before it in the same file. */
  as: number
  action?: undefined
  gap?: undefined
  segment?: undefined
  signer?: undefined
}

/** What one line holds. */
export type WrittenRecord = AuditRecord | ShortRecord

export interface EncoderOptions {
  clock: Clock
  instance: string
  /** Write what a prepared record has in common with an earlier one only once in a file. */
  short?: boolean | undefined
  /** Version of the policy in force. */
  policy: string
  /** Where the chain stands; the next record follows it. */
  head: ChainHead
}

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
  /** Microseconds; of the record last encoded, or of a later `tick`. */
  #mono = 0
  /** What prepared records hold besides their own: `policy` with what is around it, and `time`. */
  #policyPart = EMPTY
  #timePart = EMPTY
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
    this.tick()
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

    const hashed = `\0${before}${after}`
    this.#hash = hash('sha256', hashed)
    this.#seq = seq
    // Cut out of the hashed string, which is flat by now, so that the parts are not joined a second time.
    const cut = before.length + 1
    return `${hashed.slice(1, cut)},"hash":"${this.#hash}"${hashed.slice(cut)}`
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
      this.#timePart.length
    return own + HASH_MEMBER_BYTES + OTHER_MEMBERS_BYTES
  }

  /**
   * The next line of the chain, written to `target` at `at`, without its newline: the same as `encode` makes, or a short
   * one when the file has a model for it.
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
    const { model } = record
    const isShort = model.epoch === this.#epoch && this.#models - model.number < MODELS
    const head = isShort ? model.as : record.head
    const toMono = isShort ? MONO : record.identity
    // What is hashed has no member `hash`: it is written behind the place for it, and its first part then moved forward.
    const start = at + HASH_MEMBER_BYTES
    target[start - 1] = 0
    target.set(head, start)
    let end = start + head.length
    target.set(toMono, end)
    end = writeInteger(target, end + toMono.length, this.#mono)
    if (packetId > 0) {
      end += target.write(',"packet_id":', end, 'latin1')
      end = writeInteger(target, end, packetId)
    }
    end = writePayload(target, end, payloadLength, digest)
    const toPrev = isShort ? PREV : this.#policyPart
    target.set(toPrev, end)
    end += toPrev.length
    end += target.write(this.#hash, end, 'latin1')
    const toSeq = isShort ? SEQ : record.reason
    target.set(toSeq, end)
    this.#seq += 1
    end = writeInteger(target, end + toSeq.length, this.#seq)
    target.set(this.#timePart, end)
    end += this.#timePart.length
    const tail = isShort ? END : record.end
    target.set(tail, end)
    end += tail.length

    this.#hash = hash('sha256', target.subarray(start - 1, end))
    target.set(head, at)
    target.write(`,"hash":"${this.#hash}"`, at + head.length, 'latin1')
    if (this.#short && !isShort) this.#becomesModel(model)
    return end
  }

  #becomesModel(model: PreparedRecord['model']): void {
    this.#models += 1
    model.number = this.#models
    model.epoch = this.#epoch
    model.as = Buffer.from(`{"as":${this.#seq}`)
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

/** `,"hash":"`, 64 digits, `"`. */
const HASH_MEMBER_BYTES = 74
/** `mono`, `packet_id`, `payload`, `prev` and `seq` at their longest. */
const OTHER_MEMBERS_BYTES = 320
/** Of short records, between what differs. */
const MONO = Buffer.from(',"mono":')
const PREV = Buffer.from('},"prev":"')
const SEQ = Buffer.from('","seq":')
const END = Buffer.from(',"v":1}')
