// One audit record as one line of canonical JSON (RFC 8785), linked to the record before it by SHA-256.
// Owns the byte form that is hashed; reads and writes no file. docs/audit-format.md says it for other verifiers.

import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { Clock } from '../clock.ts'
import type { AuditEvent } from './event.ts'

/** Sequence number and hash of the last record of a chain. */
export interface ChainHead {
  seq: number
  /** Lower-case hex SHA-256. */
  hash: string
}

/** What the first record of a chain follows: its `seq` is 1, its `prev` 64 zeros. */
export const GENESIS: ChainHead = { seq: 0, hash: '0'.repeat(64) }

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

  constructor(options: EncoderOptions) {
    this.#clock = options.clock
    this.#instance = quote(options.instance)
    this.policy = options.policy
    this.#seq = options.head.seq
    this.#hash = options.head.hash
  }

  get head(): ChainHead {
    return { seq: this.#seq, hash: this.#hash }
  }

  /** Version that the following records carry. */
  set policy(version: string) {
    this.#policy = quote(version)
  }

  /** The next line of the chain, without its newline. Numbers in `event` must be integers. */
  encode(event: AuditEvent): string {
    const seq = this.#seq + 1
    let before = `{"action":"${event.action}"`
    if (event.cause !== undefined) before += `,"cause":${canonicalize(wellFormed(event.cause))}`
    if (event.connection !== undefined) before += `,"connection":${this.#kept(event.connection)}`
    before += `,"decision":"${event.decision}"`
    if (event.detail !== undefined) before += `,"detail":${quote(event.detail)}`
    before += `,"effect":${quote(event.effect)}`
    if (event.gap !== undefined) before += `,"gap":${canonicalize(event.gap)}`

    // `hash` sorts between `gap` and `identity`.
    let after = ''
    if (event.identity !== undefined) after += `,"identity":${this.#kept(event.identity)}`
    after += `,"instance":${this.#instance},"mono":${Math.round(this.#clock.monotonic() * 1000)}`
    if (event.packet_id !== undefined) after += `,"packet_id":${event.packet_id}`
    if (event.payload !== undefined) after += `,"payload":${payloadJson(event.payload)}`
    after += `,"policy":${this.#policy},"prev":"${this.#hash}","reason":${quote(event.reason)}`
    if (event.repeated !== undefined) after += `,"repeated":${canonicalize(event.repeated)}`
    if (event.resource !== undefined) after += `,"resource":${resourceJson(event.resource)}`
    if (event.rules !== undefined) after += `,"rules":${rulesJson(event.rules)}`
    if (event.segment !== undefined) after += `,"segment":${canonicalize(event.segment)}`
    after += `,"seq":${seq}`
    if (event.signer !== undefined) after += `,"signer":${quote(event.signer)}`
    after += `,"time":"${this.#now()}"`
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

  #now(): string {
    const ms = this.#clock.now()
    if (ms !== this.#timeMs) {
      this.#timeMs = ms
      this.#time = new Date(ms).toISOString()
    }
    return this.#time
  }
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
