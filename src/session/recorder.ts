// Counts and audits every decision of one connection. The one place where outcomes become records and numbers.

import { hash } from 'node:crypto'
import type { AuditEvent, AuditIdentity, AuditSink, PreparedRecord } from '../audit/event.ts'
import type { Acl } from '../policy/acl.ts'
import type { Tally } from '../telemetry/tally.ts'
import type { PublishHead } from '../wire/heads.ts'
import type { EndCause } from './outcome.ts'
import { OUTCOME_NAMES, type Outcome } from './outcome.ts'

/** First slot of each family; a family's rows are in the order of the list named here. */
export interface SessionSlots {
  /** By outcome. */
  publishes: number
  subscribes: number
  deliveries: number
  wills: number
  /** By reason of a CONNECT: `ok` or why it was refused. */
  connect(reason: string): number
  ended(cause: EndCause): number
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
  /** Hex SHA-256 of the payload, when all of it was at hand. */
  payloadSha256: string | undefined
}

export class Recorder {
  readonly #audit: AuditSink
  readonly #tally: Tally
  readonly #slots: SessionSlots
  #connection: NonNullable<AuditEvent['connection']>
  #identity: AuditIdentity | undefined

  constructor(
    audit: AuditSink,
    tally: Tally,
    slots: SessionSlots,
    connection: { id: string; peer: string; listener: string },
  ) {
    this.#audit = audit
    this.#tally = tally
    this.#slots = slots
    this.#connection = connection
  }

  get connectionId(): string {
    return this.#connection.id
  }

  /** false: a record could not be written and the failure mode is `deny`. */
  get accepting(): boolean {
    return this.#audit.accepting
  }

  identify(identity: AuditIdentity | undefined, clientId: string): void {
    this.#identity = identity
    this.#connection = { ...this.#connection, client_id: clientId }
  }

  connect(allowed: boolean, reason: string, effect: string, detail?: string): void {
    this.#tally.add(this.#slots.connect(reason))
    // A port probe says nothing and is nobody: it is counted, but no record is made of it.
    if (reason === 'closed_before_connack' && this.#identity === undefined) return
    this.#append('connect', allowed, reason, effect, { detail })
  }

  will(
    outcome: Outcome,
    acl: Acl,
    will: { topic: string; qos: number; retain: boolean },
    effect: string,
  ): void {
    this.#tally.add(this.#slots.wills + outcome)
    this.#append('will', outcome === 0, OUTCOME_NAMES[outcome]!, effect, {
      resource: will,
      rules: acl.decidedRules(),
    })
  }

  /** Adds to the count only; for the many allowed deliveries, which are not audited one by one. */
  countDelivery(outcome: Outcome, count = 1): void {
    this.#tally.add(this.#slots.deliveries + outcome, count)
  }

  /** As `countDelivery`, for PUBLISH packets that have a record already or, by configuration, none. */
  countPublish(outcome: Outcome, count = 1): void {
    this.#tally.add(this.#slots.publishes + outcome, count)
  }

  /** What records of forwarded PUBLISH packets with this head have in common. Called right after the decision. */
  prepareForwarded(acl: Acl, facts: PublishFacts): PreparedRecord {
    return this.#audit.prepare({
      action: 'publish',
      decision: 'allow',
      reason: OUTCOME_NAMES[0]!,
      effect: 'forwarded',
      identity: this.#identity,
      connection: this.#connection,
      resource: this.#resourceOf(facts),
      rules: acl.decidedRules(),
    })
  }

  /** @param packetId 0: none */
  forwarded(record: PreparedRecord, length: number, sha256: string | undefined, packetId: number): void {
    this.#audit.appendPrepared(record, length, sha256, packetId)
  }

  /** Reads the clock for what `forwarded` records next. */
  tick(): void {
    this.#audit.tick()
  }

  publish(outcome: Outcome, acl: Acl, facts: PublishFacts, effect: string): void {
    this.#tally.add(this.#slots.publishes + outcome)
    this.#message('publish', outcome, acl, facts, effect)
  }

  deliveryRefused(outcome: Outcome, acl: Acl, facts: PublishFacts, effect: string): void {
    this.#tally.add(this.#slots.deliveries + outcome)
    this.#message('deliver', outcome, acl, facts, effect)
  }

  release(outcome: Outcome, packetId: number, topic: string | undefined, effect: string): void {
    this.#append('release', outcome === 0, OUTCOME_NAMES[outcome]!, effect, {
      resource: topic === undefined ? undefined : { topic },
      packet_id: packetId,
    })
  }

  subscribe(outcome: Outcome, acl: Acl, filter: string, qos: number, packetId: number, effect: string): void {
    this.#tally.add(this.#slots.subscribes + outcome)
    this.#append('subscribe', outcome === 0, OUTCOME_NAMES[outcome]!, effect, {
      resource: { filter, qos },
      rules: acl.decidedRules(),
      packet_id: packetId,
    })
  }

  unsubscribe(filter: string, packetId: number, effect: string, reason = 'ok'): void {
    this.#append('unsubscribe', true, reason, effect, { resource: { filter }, packet_id: packetId })
  }

  /** The rest of a payload whose head was audited before it had arrived. */
  payload(packetId: number, length: number, sha256: string | undefined, complete: boolean): void {
    this.#append('payload', true, complete ? 'ok' : 'incomplete', 'forwarded', {
      payload: sha256 === undefined ? { length } : { length, sha256 },
      packet_id: packetId,
    })
  }

  ended(cause: EndCause, effect: string, detail?: string): void {
    this.#tally.add(this.#slots.ended(cause))
    this.#append('disconnect', true, cause, effect, { detail })
  }

  clientFault(fault: number): void {
    this.#tally.add(this.#slots.clientFaults + fault)
  }

  serverFault(fault: number): void {
    this.#tally.add(this.#slots.serverFaults + fault)
  }

  #message(
    action: 'publish' | 'deliver',
    outcome: Outcome,
    acl: Acl,
    facts: PublishFacts,
    effect: string,
  ): void {
    const { head } = facts
    this.#append(action, outcome === 0, OUTCOME_NAMES[outcome]!, effect, {
      resource: this.#resourceOf(facts),
      payload:
        facts.payloadSha256 === undefined
          ? { length: head.payloadLength }
          : { length: head.payloadLength, sha256: facts.payloadSha256 },
      rules: acl.decidedRules(),
      packet_id: head.qos > 0 ? head.packetId : undefined,
    })
  }

  #resourceOf(facts: PublishFacts): NonNullable<AuditEvent['resource']> {
    const { source, head } = facts
    const resource: NonNullable<AuditEvent['resource']> = {
      topic: facts.topic.toString('utf8', facts.topicStart, facts.topicEnd),
      qos: head.qos,
      retain: head.retain,
    }
    if (head.responseTopicStart >= 0) {
      resource.response_topic = source.toString('utf8', head.responseTopicStart, head.responseTopicEnd)
    }
    if (head.correlationDataStart >= 0) {
      const data = source.subarray(head.correlationDataStart, head.correlationDataEnd)
      resource.correlation_sha256 = hash('sha256', data, 'hex')
    }
    return resource
  }

  #append(
    action: AuditEvent['action'],
    allowed: boolean,
    reason: string,
    effect: string,
    rest: Partial<AuditEvent>,
  ): void {
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
