// What a security event asks for. CAEP 1.0 and RISC 1.0, both OpenID Final; the mapping is ours (docs/identity.md). Pure.

import type { SecurityEvent } from '../identity/event-token.ts'

/** `contact`: nothing but a sign of life. */
export type Demand = 'revoke' | 'disable' | 'enable' | 'contact' | 'ignore'

const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/'
const RISC = 'https://schemas.openid.net/secevent/risc/event-type/'
const SSF = 'https://schemas.openid.net/secevent/ssf/event-type/'

type Row = Demand | ((payload: ReadonlyMap<string, unknown>, onRisk: OnRisk) => Demand)
type OnRisk = 'ignore' | 'revoke'

const risk =
  (member: string, bad: string): Row =>
  (payload, onRisk) =>
    onRisk === 'revoke' && payload.get(member) === bad ? 'revoke' : 'ignore'

const EVENTS: ReadonlyMap<string, Row> = new Map<string, Row>([
  [`${CAEP}session-revoked`, 'revoke'],
  // The rights in the token may be the old ones: a fresh token tells.
  [`${CAEP}token-claims-change`, 'revoke'],
  [
    `${CAEP}credential-change`,
    (payload) => (['revoke', 'delete'].includes(String(payload.get('change_type'))) ? 'revoke' : 'ignore'),
  ],
  [`${CAEP}risk-level-change`, risk('current_level', 'HIGH')],
  [`${CAEP}device-compliance-change`, risk('current_status', 'not-compliant')],
  [`${CAEP}assurance-level-change`, risk('change_direction', 'decrease')],
  [`${CAEP}session-established`, 'ignore'],
  [`${CAEP}session-presented`, 'ignore'],
  [`${RISC}account-disabled`, 'disable'],
  [`${RISC}account-purged`, 'disable'],
  [`${RISC}account-enabled`, 'enable'],
  [`${RISC}credential-compromise`, 'revoke'],
  [`${SSF}verification`, 'contact'],
  [`${SSF}stream-updated`, 'contact'],
])

/** Names for metrics: a closed set. */
export const EVENT_NAMES = [...[...EVENTS.keys()].map(shortName), 'unknown'] as const

export function nameOf(type: string): string {
  return EVENTS.has(type) ? shortName(type) : 'unknown'
}

export function demandOf({ type, payload }: SecurityEvent, onRisk: OnRisk): Demand {
  const row = EVENTS.get(type) ?? 'ignore'
  return typeof row === 'string' ? row : row(payload, onRisk)
}

/** When it happened: `event_timestamp` (seconds), else when it was told; milliseconds since the epoch. */
export function happenedAtMs({ payload, issuedAtMs }: SecurityEvent): number {
  const at = payload.get('event_timestamp')
  return typeof at === 'number' && Number.isFinite(at) && at > 0 ? at * 1000 : issuedAtMs
}

function shortName(type: string): string {
  return type.slice(type.lastIndexOf('/') + 1)
}
