// Counts and audits every decision of one connection. The one place where outcomes become records and numbers.

import {
  type AuditEvent,
  type AuditIdentity,
  type AuditSink,
  type DigestPort,
  type PreparedRecord,
  SHADOWED,
} from '../audit/event.ts'
import type { Grant } from '../identity/grant-token.ts'
import type { Acl } from '../policy/acl.ts'
import { VERDICT_NAMES } from '../policy/verdict.ts'
import type { Tally } from '../telemetry/tally.ts'
import type { Direction } from '../wire/control-packet.ts'
import type { PublishHead } from '../wire/heads.ts'
import { grantEvidence } from './audit-identity.ts'
import type { SessionContext } from './context.ts'
import type { EndCause } from './outcome.ts'
import { OUTCOME_NAMES, Outcome } from './outcome.ts'

const SHADOWED_ACTIONS = ['publish', 'subscribe', 'deliver', 'will'] as const
const DENIALS = VERDICT_NAMES.slice(1)
/** Action and reason of what shadow mode can let through: the rows that count it. */
export const SHADOWED_ROWS: readonly (readonly [string, string])[] = SHADOWED_ACTIONS.flatMap((action) =>
  DENIALS.map((reason): [string, string] => [action, reason]),
)

/** First slot of each family; a family's rows are in the order of the list named here. */
export interface SessionSlots {
  /** By outcome. */
  publishes: number
  subscribes: number
  deliveries: number
  wills: number
  /** By row of SHADOWED_ROWS. */
  shadowed: number
  /** By reason of a CONNECT: `ok` or why it was refused. */
  connect(reason: string): number
  ended(cause: EndCause): number
  /** By reason: `ok` or why a renewal failed. */
  renewal(reason: string): number
  /** By reason: `ok` or why a grant was refused. */
  grant(reason: string): number
  /** By reason: `ok` or why the token that a message carries is refused. */
  carried(reason: string): number
  /** By fault: those of the reader, then SESSION_FAULTS. */
  clientFaults: number
  serverFaults: number
  /** By packet type from 1: 15 rows for client to server, then 15 for server to client. */
  packets: number
  /** By direction. */
  bytes: number
  /** Gauge: unauthenticated, then active. */
  connections: number
}

/** What a PUBLISH record needs beside the outcome. */
export interface PublishFacts {
  source: Buffer
  head: PublishHead
  topic: Buffer
  topicStart: number
  topicEnd: number
  /** Hex digest of the payload, when all of it was at hand. */
  payloadDigest: string | undefined
  /** What it used up. */
  grant: Grant | undefined
  /** Of the human that the message is for; undefined: that of the connection. */
  identity: AuditIdentity | undefined
  /** Why the token that it carries is refused. */
  detail: string | undefined
}

export class Recorder {
  readonly #audit: AuditSink
  readonly #tally: Tally
  readonly #slots: SessionSlots
  readonly #digest: DigestPort | undefined
  readonly #pseudonym: SessionContext['pseudonym']
  #connection: NonNullable<AuditEvent['connection']> & { listener: string }
  #identity: AuditIdentity | undefined
  /** Something was allowed since the last `commit`. */
  #uncommitted = false

  constructor(
    audit: AuditSink,
    tally: Tally,
    slots: SessionSlots,
    digest: DigestPort | undefined,
    pseudonym: SessionContext['pseudonym'],
    connection: { id: string; peer: string; listener: string },
  ) {
    this.#digest = digest
    this.#pseudonym = pseudonym
    this.#audit = audit
    this.#tally = tally
    this.#slots = slots
    this.#connection = connection
  }

  get connectionId(): string {
    return this.#connection.id
  }

  get listener(): string {
    return this.#connection.listener
  }

  /** false: a record could not be written and the failure mode is `deny`. */
  get accepting(): boolean {
    return this.#audit.accepting
  }

  /** Nothing more that makes records is to be taken for now: the disk is behind. */
  get congested(): boolean {
    return this.#audit.congested
  }

  /** Called before what was allowed leaves. false: its record could not be written, so nothing of it may leave. */
  commit(): boolean {
    if (!this.#uncommitted) return true
    this.#uncommitted = false
    return this.#audit.commit()
  }

  identify(identity: AuditIdentity | undefined, clientId: string): void {
    this.#identity = identity
    this.#connection = { ...this.#connection, client_id: clientId }
  }

  /** A port probe says nothing and is nobody: it is counted, but no record is made of it. */
  probed(): void {
    this.#tally.add(this.#slots.connect('closed_before_connack'))
  }

  connect(allowed: boolean, reason: string, effect: string, detail?: string): void {
    this.#tally.add(this.#slots.connect(reason))
    this.#append('connect', allowed, reason, effect, { detail })
  }

  /** @param way `auth` or `topic` */
  renewal(reason: string, effect: string, way: string, detail?: string): void {
    this.#tally.add(this.#slots.renewal(reason))
    const told = detail === undefined ? way : `${way}: ${detail}`
    this.#append('renew', reason === 'ok', reason, effect, { detail: told })
  }

  /** A just-in-time grant was handed in. @param about as far as it is known to be authentic */
  grant(
    reason: string,
    effect: string,
    about: Grant | Pick<Grant, 'issuer' | 'tokenId'> | undefined,
    detail?: string,
  ): void {
    this.#tally.add(this.#slots.grant(reason))
    this.#append('grant', reason === 'ok', reason, effect, {
      detail,
      grant: grantEvidence(about, this.#pseudonym),
    })
  }

  /** A token that a message carries was verified: `ok`, or why not. */
  carried(reason: string): void {
    this.#tally.add(this.#slots.carried(reason))
  }

  will(
    outcome: Outcome,
    acl: Acl,
    will: { topic: string; qos: number; retain: boolean },
    effect: string,
  ): void {
    const decided = this.#count(this.#slots.wills, 'will', outcome, acl)
    this.#append('will', decided === 0, OUTCOME_NAMES[decided]!, decided === outcome ? effect : SHADOWED, {
      resource: will,
      rules: acl.decidedRules(),
    })
  }

  countPacket(direction: Direction, type: number, count = 1): void {
    this.#tally.add(this.#slots.packets + direction * 15 + type - 1, count)
  }

  /** Adds to the count only; for the many allowed deliveries, which are not audited one by one. */
  countDelivery(outcome: Outcome, count = 1): void {
    this.#tally.add(this.#slots.deliveries + outcome, count)
  }

  /** The same for PUBLISH packets that have a record already or, by configuration, none. */
  countPublish(outcome: Outcome, count = 1): void {
    this.#tally.add(this.#slots.publishes + outcome, count)
  }

  /** What records of forwarded PUBLISH packets with this head have in common. Called right after the decision. */
  prepareForwarded(acl: Acl, facts: PublishFacts): PreparedRecord {
    const event: AuditEvent = {
      action: 'publish',
      decision: 'allow',
      reason: OUTCOME_NAMES[0]!,
      effect: 'forwarded',
      identity: facts.identity ?? this.#identity,
      connection: this.#connection,
      resource: this.#resourceOf(facts),
      rules: acl.decidedRules(),
      traceparent: traceparentOf(facts.source, facts.head),
    }
    return this.#audit.prepare(event, this.#digest?.name)
  }

  /** Sums up so many more of many like it; false: each needs a record of its own, by `forwarded`. */
  counts(record: PreparedRecord, payloadBytes: number, times: number): boolean {
    this.#uncommitted = true
    return this.#audit.count(record, payloadBytes, times)
  }

  /** @param packetId 0: none */
  forwarded(record: PreparedRecord, payload: Buffer, packetId: number): void {
    this.#uncommitted = true
    const digest = this.#digest === undefined ? '' : this.#digest.of(payload)
    this.#audit.appendPrepared(record, payload.length, digest, packetId)
  }

  /** What `forwarded` records next is of another time. */
  tick(): void {
    this.#audit.tick()
  }

  publish(outcome: Outcome, acl: Acl, facts: PublishFacts, effect: string): void {
    const decided = this.#count(this.#slots.publishes, 'publish', outcome, acl)
    this.#message('publish', decided, acl, facts, decided === outcome ? effect : SHADOWED)
  }

  /** A delivery that was denied, whether or not shadow mode let it through. */
  deliveryRefused(outcome: Outcome, acl: Acl, facts: PublishFacts, effect: string): void {
    const decided = this.#count(this.#slots.deliveries, 'deliver', outcome, acl)
    this.#message('deliver', decided, acl, facts, decided === outcome ? effect : SHADOWED)
  }

  /** @param identity of the human that the message is for; undefined: that of the connection */
  release(
    outcome: Outcome,
    packetId: number,
    topic: string | undefined,
    effect: string,
    identity: AuditIdentity | undefined,
    detail: string | undefined,
  ): void {
    this.#append('release', outcome === 0, OUTCOME_NAMES[outcome]!, effect, {
      ...(identity === undefined ? {} : { identity }),
      detail,
      resource: topic === undefined ? undefined : { topic },
      packet_id: packetId,
    })
  }

  subscribe(
    outcome: Outcome,
    acl: Acl,
    filter: string,
    qos: number,
    packetId: number,
    effect: string,
    grant?: Grant | undefined,
  ): void {
    const decided = this.#count(this.#slots.subscribes, 'subscribe', outcome, acl)
    const done = decided === outcome ? effect : SHADOWED
    this.#append('subscribe', decided === 0, OUTCOME_NAMES[decided]!, done, {
      resource: { filter, qos },
      rules: acl.decidedRules(),
      packet_id: packetId,
      grant: grantEvidence(grant, this.#pseudonym),
    })
  }

  unsubscribe(filter: string, packetId: number, effect: string, reason = 'ok', allowed = true): void {
    this.#append('unsubscribe', allowed, reason, effect, { resource: { filter }, packet_id: packetId })
  }

  /** The rest of a payload whose head was audited before it had arrived. */
  payload(
    { packetId, length, identity }: { packetId: number; length: number; identity: AuditIdentity | undefined },
    digest: string | undefined,
    complete: boolean,
  ): void {
    this.#append('payload', true, complete ? 'ok' : 'incomplete', 'forwarded', {
      ...(identity === undefined ? {} : { identity }),
      payload: this.#payloadOf(length, digest),
      packet_id: packetId > 0 ? packetId : undefined,
    })
  }

  /** @param because what a revocation came from */
  ended(cause: EndCause, effect: string, detail?: string, because?: AuditEvent['cause']): void {
    this.#tally.add(this.#slots.ended(cause))
    this.#append('disconnect', true, cause, effect, { detail, cause: because })
  }

  clientFault(fault: number): void {
    this.#tally.add(this.#slots.clientFaults + fault)
  }

  serverFault(fault: number): void {
    this.#tally.add(this.#slots.serverFaults + fault)
  }

  /** Counts the decision; one that shadow mode let through as the denial that it is. Returns what is recorded. */
  #count(family: number, action: (typeof SHADOWED_ACTIONS)[number], outcome: Outcome, acl: Acl): Outcome {
    const decided = outcome === Outcome.ALLOW ? acl.shadowed : outcome
    this.#tally.add(family + decided)
    if (decided !== outcome) {
      const row = SHADOWED_ACTIONS.indexOf(action) * DENIALS.length + decided - 1
      this.#tally.add(this.#slots.shadowed + row)
    }
    return decided
  }

  #message(
    action: 'publish' | 'deliver',
    outcome: Outcome,
    acl: Acl,
    facts: PublishFacts,
    effect: string,
  ): void {
    const { source, head, identity, detail } = facts
    this.#append(action, outcome === 0, OUTCOME_NAMES[outcome]!, effect, {
      ...(identity === undefined ? {} : { identity }),
      detail,
      resource: this.#resourceOf(facts),
      payload: this.#payloadOf(head.payloadLength, facts.payloadDigest),
      rules: detail === undefined ? acl.decidedRules() : undefined,
      packet_id: head.qos > 0 ? head.packetId : undefined,
      grant: grantEvidence(facts.grant, this.#pseudonym),
      traceparent: traceparentOf(source, head),
    })
  }

  #resourceOf({
    source,
    head,
    topic,
    topicStart,
    topicEnd,
  }: PublishFacts): NonNullable<AuditEvent['resource']> {
    const resource: NonNullable<AuditEvent['resource']> = {
      topic: topic.toString('utf8', topicStart, topicEnd),
      qos: head.qos,
      retain: head.retain,
    }
    if (head.responseTopicStart >= 0) {
      resource.response_topic = source.toString('utf8', head.responseTopicStart, head.responseTopicEnd)
    }
    if (head.correlationDataStart >= 0) {
      const data = source.subarray(head.correlationDataStart, head.correlationDataEnd)
      if (this.#digest !== undefined) resource[`correlation_${this.#digest.name}`] = this.#digest.of(data)
    }
    return resource
  }

  #payloadOf(length: number, digest: string | undefined): NonNullable<AuditEvent['payload']> {
    return digest === undefined ? { length } : { length, [this.#digest!.name]: digest }
  }

  #append(
    action: AuditEvent['action'],
    allowed: boolean,
    reason: string,
    effect: string,
    rest: Partial<AuditEvent>,
  ): void {
    if (allowed) this.#uncommitted = true
    this.#audit.append({
      action,
      decision: allowed ? 'allow' : 'deny',
      reason,
      effect,
      identity: this.#identity,
      connection: this.#connection,
      ...rest,
    })
  }
}

/** https://www.w3.org/TR/trace-context/#traceparent-header: nothing but hex digits gets into a record. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
const TRACEPARENT_BYTES = 55

function traceparentOf(
  source: Buffer,
  { traceparentStart, traceparentEnd }: PublishHead,
): string | undefined {
  if (traceparentStart < 0 || traceparentEnd - traceparentStart !== TRACEPARENT_BYTES) return undefined
  const text = source.toString('latin1', traceparentStart, traceparentEnd)
  return TRACEPARENT.test(text) ? text : undefined
}
