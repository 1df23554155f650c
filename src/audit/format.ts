// One audit record as one line for people. What agents chose (topics, client ids) is shown without control characters,
// so that a record cannot play tricks with a terminal.

import type { AuditEvent } from './event.ts'
import type { AuditRecord } from './record.ts'

/** Reasons that say no more than the decision does. */
const PLAIN_REASONS = ['ok', 'allow']

/**
 * Time, decision, who for whom, action, topic, deciding rules or the reason, effect:
 * `12:00:00.000Z allow scout for u1 publish tasks/analyst/inbox qos 1 [agent: inbox, user: may-post] forwarded`
 */
export function formatRecord(record: AuditRecord): string {
  const parts = [
    record.time.slice(11),
    record.decision.padEnd(5),
    who(record),
    record.action,
    what(record.resource),
  ]
  if (!PLAIN_REASONS.includes(record.reason)) parts.push(`(${record.reason})`)
  const rules = Object.entries(record.rules ?? {}).map(([layer, rule]) => `${layer}: ${rule}`)
  if (rules.length > 0) parts.push(`[${rules.join(', ')}]`)
  parts.push(record.effect)
  if (record.gap) parts.push(missing(record.gap))
  if (record.repeated) parts.push(`${record.repeated.count} times since ${record.repeated.first.slice(11)}`)
  if (record.segment) parts.push(`segment ${record.segment.number}`)
  if (record.signer) parts.push(`checkpoints by ${record.signer}`)
  if (record.detail) parts.push(`- ${record.detail}`)
  return printable(parts.filter((part) => part !== '').join(' '))
}

function who({ identity, connection }: AuditEvent): string {
  const agent = identity?.agent?.id ?? connection?.client_id ?? connection?.peer ?? 'postern'
  const { human } = identity ?? {}
  if (!human) return agent
  return human.via === 'owner' ? `${agent} (owner ${human.id})` : `${agent} for ${human.id}`
}

function what(resource: AuditEvent['resource']): string {
  if (!resource) return ''
  const words: string[] = []
  const place = resource.topic ?? resource.filter
  if (place !== undefined) words.push(place)
  if (resource.qos !== undefined) words.push(`qos ${resource.qos}`)
  if (resource.retain) words.push('retain')
  if (resource.response_topic !== undefined) words.push(`response ${resource.response_topic}`)
  return words.join(' ')
}

function missing(gap: NonNullable<AuditEvent['gap']>): string {
  return gap.lost === undefined ? `${gap.torn_bytes} torn bytes` : `${gap.lost} record(s) lost`
}

/** C0 and C1 controls, line separators, and the marks that change the direction of text (Unicode UAX #9). */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Text without marks that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (mark) => `\\u{${mark.codePointAt(0)!.toString(16)}}`)
}
