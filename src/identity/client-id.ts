// Binds the MQTT Client Identifier to the agent, so that one agent cannot take over another's session, and assigns
// one where the client sent none. MQTT 5.0 §3.1.3.1, TOK-16, TOK-17.

import type { Config } from '../config/config.ts'
import { isIdentity } from './identifier.ts'

export type ClientIdBinding =
  | {
      ok: true
      clientId: string
      /** true: goes into CONNACK as Assigned Client Identifier. */
      assigned: boolean
    }
  | { ok: false; reason: 'client_id_mismatch' | 'bad_identifier' }

/**
 * Decides on the Client Identifier of a CONNECT.
 *
 * - `exact`: the agent id. Assigned: the agent id.
 * - `prefix`: the agent id, or agent id + separator + anything. Agent ids must not contain the separator, or agent `a`
 *   could take the identifiers of agent `a-b`; such an agent is refused. Assigned: agent id + separator + suffix.
 * - `any`: whatever the client asks for; sessions are then protected by nothing. Assigned: as under `prefix`.
 *
 * @param requested the Client Identifier; empty asks for an assigned one
 * @param makeSuffix returns text that no other connection has and nobody can guess
 */
export function bindClientId(
  requested: string,
  agentId: string,
  rule: Config['clientId'],
  makeSuffix: () => string,
): ClientIdBinding {
  const start = agentId + rule.separator
  if (rule.binding === 'prefix' && agentId.includes(rule.separator))
    return { ok: false, reason: 'bad_identifier' }
  if (requested === '') {
    const clientId = rule.binding === 'exact' ? agentId : start + makeSuffix()
    return { ok: true, clientId, assigned: true }
  }
  return isIdentity(requested) && isBound(requested, agentId, start, rule.binding)
    ? { ok: true, clientId: requested, assigned: false }
    : { ok: false, reason: 'client_id_mismatch' }
}

function isBound(
  requested: string,
  agentId: string,
  start: string,
  binding: Config['clientId']['binding'],
): boolean {
  switch (binding) {
    case 'exact':
      return requested === agentId
    case 'prefix':
      return requested === agentId || (requested.startsWith(start) && requested.length > start.length)
    case 'any':
      return true
  }
}
