// The one list of scenarios that is played on both sides.
import { CLIENTS } from './clients.ts'
import { CONNECTING } from './connecting.ts'
import { ENDINGS } from './endings.ts'
import { FLOW } from './flow.ts'
import { PUBLISHING } from './publishing.ts'
import { SESSIONS } from './sessions.ts'
import type { Scenario } from './stage.ts'
import { SUBSCRIBING } from './subscribing.ts'
import { WILLS } from './wills.ts'

export const SCENARIOS: readonly Scenario[] = [
  ...CONNECTING,
  ...WILLS,
  ...PUBLISHING,
  ...SUBSCRIBING,
  ...SESSIONS,
  ...FLOW,
  ...ENDINGS,
  ...CLIENTS,
]

/** Short and unique: the first level of all topics of a scenario, and the start of its client identifiers. */
export function prefixOf(scenario: Scenario): string {
  return `t${String(SCENARIOS.indexOf(scenario)).padStart(3, '0')}`
}
