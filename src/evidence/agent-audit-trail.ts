// Records in the form of draft-sharif-agent-audit-trail (-06): its twelve members, canonical JSON (RFC 8785), and a hash
// chain of its own for each connection, which is a session there. Records are not signed (the draft's ES256 envelope is
// optional): `action_detail.postern` names the record of Postern's own chain, which is.

import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { AuditRecord } from '../audit/record.ts'
import { idOf } from './record-id.ts'

/** Postern does not know it; the draft wants a semantic version. */
const UNKNOWN_VERSION = '0.0.0'

export class AgentAuditTrail {
  /** By session: its last record. */
  readonly #last = new Map<string, { id: string; hash: string }>()

  /** One line in canonical form; undefined for records of no agent's doing. */
  line(record: AuditRecord): string | undefined {
    const { connection, identity, action, decision } = record
    if (connection === undefined) return undefined
    const session = uuidOf(`${record.instance}\0${connection.id}`)
    const last = this.#last.get(session)
    const id = uuidOf(idOf(record))
    const converted = {
      record_id: id,
      timestamp: record.time,
      agent_id: agentUri(record),
      agent_version: UNKNOWN_VERSION,
      session_id: session,
      action_type: action === 'connect' || action === 'disconnect' ? 'lifecycle' : 'decision',
      action_detail: detailOf(record),
      outcome: decision === 'allow' ? 'success' : 'denied',
      trust_level: identity === undefined ? 'L0' : 'L2',
      parent_record_id: last?.id ?? null,
      prev_hash: last?.hash ?? null,
      record_phase: action === 'disconnect' || action === 'payload' ? 'post_execution' : 'pre_execution',
    }
    const text = canonicalize(converted)!
    if (action === 'disconnect') this.#last.delete(session)
    else this.#last.set(session, { id, hash: hash('sha256', text) })
    return text
  }
}

function detailOf(record: AuditRecord): object {
  const { action, effect, reason, resource, payload, rules, repeated } = record
  const { identity, policy, seq, entry, traceparent } = record
  const detail = {
    ...{ action, effect, reason, resource, payload, rules, repeated, policy, traceparent },
    human: identity?.human,
    token: identity?.token === undefined ? undefined : { iss: identity.token.iss, jti: identity.token.jti },
    postern: { seq, hash: record.hash, ...(entry === undefined ? {} : { entry }) },
  }
  return Object.fromEntries(Object.entries(detail).filter(([, value]) => value !== undefined))
}

function agentUri({ identity, connection }: AuditRecord): string {
  const { agent } = identity ?? {}
  if (agent === undefined) return `urn:postern:client:${encodeURIComponent(connection?.client_id ?? '')}`
  return URL.canParse(agent.sub) ? agent.sub : `${agent.iss}#${encodeURIComponent(agent.sub)}`
}

/** A UUID of version 8 (RFC 9562 §5.8) that the text determines, so that two exports of a log are the same. */
function uuidOf(text: string): string {
  const hex = hash('sha256', text)
  const variant = ((Number.parseInt(hex[16]!, 16) & 3) | 8).toString(16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
