// What becomes of a decision: ONE table from outcome to Reason Code. Outcomes 0..n are the PDP's verdicts; the rest
// are the session's own reasons to deny. Names serve audit records and metric labels alike.

import { VERDICT_NAMES, Verdict } from '../policy/verdict.ts'
import { PacketType } from '../wire/control-packet.ts'
import { FAULTS, type FaultRow } from '../wire/fault.ts'
import { ReasonCode } from '../wire/reason-code.ts'

const FIRST = VERDICT_NAMES.length

export const Outcome = {
  ...Verdict,
  /** The audit log cannot write and its failure mode is `deny`. */
  AUDIT_UNAVAILABLE: FIRST,
  /** The connection has as many subscriptions as `limits.subscriptions` allows. */
  SUBSCRIPTION_LIMIT: FIRST + 1,
  PACKET_ID_IN_USE: FIRST + 2,
  /** PUBREL for a PUBLISH that no connection of this process judged. */
  UNKNOWN_RELEASE: FIRST + 3,
  /** Adding the Topic Name that an alias stands for would exceed the receiver's Maximum Packet Size. */
  TOO_LARGE_FOR_RECEIVER: FIRST + 4,
  /** QoS 2: the messages that the agent has not released are more than Postern keeps in mind. */
  TOO_MANY_UNRELEASED: FIRST + 5,
  /** A Will on the topic that takes tokens. */
  RESERVED_TOPIC: FIRST + 6,
  /** The token that the message carries is not accepted; the record says why. */
  TOKEN_REFUSED: FIRST + 7,
} as const
export type Outcome = number

export const OUTCOME_NAMES: readonly string[] = [
  ...VERDICT_NAMES,
  'audit_unavailable',
  'subscription_limit',
  'packet_id_in_use',
  'unknown_release',
  'too_large_for_receiver',
  'too_many_unreleased',
  'reserved_topic',
  'token_refused',
]

const REASON_CODES: readonly number[] = [
  ReasonCode.SUCCESS,
  ...VERDICT_NAMES.slice(1).map(() => ReasonCode.NOT_AUTHORIZED),
  ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
  ReasonCode.QUOTA_EXCEEDED,
  ReasonCode.PACKET_IDENTIFIER_IN_USE,
  ReasonCode.PACKET_IDENTIFIER_NOT_FOUND,
  ReasonCode.QUOTA_EXCEEDED,
  ReasonCode.QUOTA_EXCEEDED,
  ReasonCode.NOT_AUTHORIZED,
  ReasonCode.NOT_AUTHORIZED,
]

/**
 * Reason Code for the acknowledgement of a denied packet.
 *
 * @param hideTopics answer 0x80 in place of 0x87, so that the existence of topics cannot be probed (RFC 9431 §2.2.4)
 */
export function reasonCodeOf(outcome: Outcome, hideTopics: boolean): number {
  const code = REASON_CODES[outcome] ?? ReasonCode.NOT_AUTHORIZED
  return hideTopics && code === ReasonCode.NOT_AUTHORIZED ? ReasonCode.UNSPECIFIED_ERROR : code
}

/** Bytes that a Remaining Length may grow by when a head is rewritten. */
export const LENGTH_GROWTH = 3

/** The packet that answers a PUBLISH of this QoS; 0 for QoS 0, which has no answer. */
export function answerTo(qos: number): number {
  return qos === 1 ? PacketType.PUBACK : qos === 2 ? PacketType.PUBREC : 0
}

/**
 * Why a session ended. `client` is the Reason Code of the DISCONNECT that the agent gets (-1: none), `server` what the
 * broker sees: `close` leaves the Will to be published, `clean` sends DISCONNECT 0x00 so that it is not,
 * `discard` also ends the MQTT session, `forget` does so and leaves the Will to be published.
 * design.md 3.5.
 */
export const END_CAUSES = {
  client_disconnected: { client: -1, server: 'close' },
  client_closed: { client: -1, server: 'close' },
  server_disconnected: { client: -1, server: 'close' },
  server_closed: { client: -1, server: 'close' },
  server_fault: { client: ReasonCode.UNSPECIFIED_ERROR, server: 'close' },
  client_fault: { client: ReasonCode.PROTOCOL_ERROR, server: 'close' },
  renewal_refused: { client: ReasonCode.NOT_AUTHORIZED, server: 'close' },
  expired: { client: ReasonCode.NOT_AUTHORIZED, server: 'close' },
  publish_denied: { client: ReasonCode.NOT_AUTHORIZED, server: 'close' },
  delivery_denied: { client: ReasonCode.NOT_AUTHORIZED, server: 'close' },
  /** A new policy denies the Will: only ending the session keeps the broker from publishing it. */
  will_denied: { client: ReasonCode.NOT_AUTHORIZED, server: 'clean' },
  /** Cut by hand or by an event: by `revocation.will` the Will is not sent, and session and queue go. */
  revoked: { client: ReasonCode.ADMINISTRATIVE_ACTION, server: 'discard' },
  /** PUBREL for a message that is no longer allowed: MQTT has no other way to take back what the broker holds. */
  release_denied: { client: ReasonCode.NOT_AUTHORIZED, server: 'forget' },
  /** An answer that has to be given is longer than the client takes. */
  answer_too_large: { client: ReasonCode.PACKET_TOO_LARGE, server: 'close' },
  shutdown: { client: ReasonCode.SERVER_SHUTTING_DOWN, server: 'close' },
  /** `write-ahead`: the record of an allowed packet is not on disk; packet and connection go. */
  audit_unavailable: { client: -1, server: 'close' },
  /** After the CONNECT was allowed and forwarded: the broker said no, or nothing. The agent is told by CONNACK. */
  refused_by_broker: { client: -1, server: 'close' },
  upstream_unavailable: { client: -1, server: 'close' },
  internal_error: { client: ReasonCode.UNSPECIFIED_ERROR, server: 'close' },
} as const satisfies Record<string, { client: number; server: 'close' | 'clean' | 'discard' | 'forget' }>
export type EndCause = keyof typeof END_CAUSES

/** Violations that only the session can see, beside the reader's FAULTS. Indexed after those. */
export const SESSION_FAULTS = [
  { name: 'first_packet_not_connect', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '[MQTT-3.1.0-1]' },
  { name: 'second_connect', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '[MQTT-3.1.0-2]' },
  { name: 'topic_alias_above_maximum', reasonCode: ReasonCode.TOPIC_ALIAS_INVALID, spec: '[MQTT-3.3.2-9]' },
  { name: 'unknown_topic_alias', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '§3.3.2.3.4' },
  { name: 'not_auth', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '[MQTT-3.1.2-30]' },
  { name: 'unexpected_auth', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '§3.15, §4.12' },
  { name: 'first_packet_not_connack', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '[MQTT-3.2.0-1]' },
  { name: 'second_connack', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '[MQTT-3.2.0-2]' },
  { name: 'suback_count', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '[MQTT-3.8.4-6]' },
  { name: 'unknown_suback', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '[MQTT-3.8.4-2]' },
  { name: 'unsuback_count', reasonCode: ReasonCode.PROTOCOL_ERROR, spec: '[MQTT-3.11.3-1]' },
  { name: 'too_much_before_connack', reasonCode: ReasonCode.QUOTA_EXCEEDED, spec: '§3.1.4' },
] as const satisfies readonly { name: string; reasonCode: number; spec: string }[]
export type SessionFault = (typeof SESSION_FAULTS)[number]['name']

/** FAULTS of the reader, then SESSION_FAULTS. Metrics and recorder count by index. */
export const ALL_FAULTS: readonly FaultRow[] = [...FAULTS, ...SESSION_FAULTS]

/** Index into ALL_FAULTS, of a name or of such an index. */
export function faultOf(what: SessionFault | number): number {
  return typeof what === 'number'
    ? what
    : FAULTS.length + SESSION_FAULTS.findIndex((fault) => fault.name === what)
}

/** Reasons for a refused CONNECT that are not failures of authentication. */
export const CONNECT_REFUSALS = {
  connect_timeout: -1,
  closed_before_connack: -1,
  malformed_connect: -1,
  will_denied: ReasonCode.NOT_AUTHORIZED,
  /** The token was issued before its bearer was revoked, or that happened while it was verified (REV-18). */
  revoked: ReasonCode.NOT_AUTHORIZED,
  disabled: ReasonCode.NOT_AUTHORIZED,
  /** Security events may be missed at the moment (REV-16). */
  events_silent: ReasonCode.SERVER_UNAVAILABLE,
  /** What other replicas have revoked may not be known at the moment (REV-17). */
  store_unavailable: ReasonCode.SERVER_UNAVAILABLE,
  upstream_unavailable: ReasonCode.SERVER_UNAVAILABLE,
  too_many_connections: ReasonCode.SERVER_BUSY,
  audit_unavailable: ReasonCode.SERVER_UNAVAILABLE,
  /** Another human or tenant of this agent is being connected under this Client Identifier at this moment. */
  client_id_busy: ReasonCode.SERVER_BUSY,
  /** What a CONNACK has to say here is more than the client takes (§3.1.2.11.4). */
  connack_too_large: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
  internal_error: ReasonCode.UNSPECIFIED_ERROR,
  shutting_down: ReasonCode.SERVER_UNAVAILABLE,
} as const satisfies Record<string, number>
export type ConnectRefusal = keyof typeof CONNECT_REFUSALS

/** Reasons for a refused renewal that are not failures of authentication. */
export const RENEWAL_REFUSALS = [
  'renewal_in_progress',
  'audit_unavailable',
  'revoked',
  'disabled',
  'events_silent',
  'store_unavailable',
] as const

/** Reasons for a refused grant that are not in the token. */
export const GRANT_REFUSALS = [
  'grant_spent',
  'grants_unavailable',
  'too_many_grants',
  'token_refused',
  'two_grants',
  'other_action',
  'other_payload',
  'payload_too_long',
  'connection_gone',
  'audit_unavailable',
  'revoked',
  'disabled',
  'events_silent',
  'store_unavailable',
] as const
/** Reasons for which a token that a message carries is refused, and that are not failures of authentication. */
export const CARRIED_REFUSALS = ['revoked', 'disabled', 'events_silent', 'store_unavailable'] as const

/** How a refusal is recorded once the CONNECT has been allowed and forwarded: it has its record, this is the end. */
export const ENDED_AS: Readonly<Partial<Record<string, EndCause>>> = {
  upstream_unavailable: 'upstream_unavailable',
  refused_by_broker: 'refused_by_broker',
  closed_before_connack: 'client_closed',
  malformed_connect: 'client_fault',
  will_denied: 'will_denied',
  shutting_down: 'shutdown',
  connack_too_large: 'answer_too_large',
  /** Cut on the way in. */
  revoked: 'revoked',
}
