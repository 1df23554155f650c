// How `postern explain` shows a principal and a decision.

import { formatDuration } from '../src/config/fields.ts'
import type { Principal } from '../src/identity/principal.ts'
import type { Acl } from '../src/policy/acl.ts'
import type { Explanation, LayerExplanation } from '../src/policy/explain.ts'
import { Verdict } from '../src/policy/verdict.ts'

export function printPrincipal(principal: Principal, acl: Acl, nowMs: number): void {
  const { agent, human, delegated, tenant, clientId, expiresAtMs, attributes } = principal
  const whom = delegated ? `acting for ${human.id}` : `acting for itself, ${human.id} answers for it`
  console.log(`agent    ${agent.id} (${agent.sub} of ${agent.iss}), ${whom}`)
  if (tenant !== undefined) console.log(`tenant   ${tenant}`)
  console.log(`client   ${clientId}`)
  const left = Math.round((expiresAtMs - nowMs) / 1000) * 1000
  console.log(
    `token    ${new Date(expiresAtMs).toISOString()}, ${left > 0 ? `${formatDuration(left)} left` : 'in its leeway'}`,
  )
  for (const [name, values] of attributes) console.log(`claim    {${name}} = ${values.join(' | ')}`)
  for (const problem of acl.bindProblems) console.log(`note     ${problem}`)
  console.log('')
}

export function printExplanation(action: string, explanation: Explanation): void {
  const { verdict, shadowed, reason, malformed, grantedQos } = explanation
  if (malformed !== undefined) {
    console.log(`DENY  ${action}: ${malformed}`)
    return
  }
  const granted = grantedQos === undefined ? '' : ` (granted QoS ${grantedQos})`
  console.log(
    verdict === Verdict.ALLOW
      ? `ALLOW ${action}${granted}`
      : `DENY  ${action}: ${reason}${shadowed ? ' (shadow mode lets it through)' : ''}`,
  )
  if (explanation.about === 'response topic') {
    console.log('      the sender may not subscribe to the Response Topic itself:')
  }
  for (const layer of explanation.layers) printLayer(layer)
}

function printLayer(layer: LayerExplanation): void {
  const { verdict, rule, filter, bound, nearest } = layer
  const values = [...bound].map(([name, value]) => `{${name}} = ${value}`).join(', ')
  const what = rule === '-' ? 'no rule' : filter === undefined ? rule : `${rule}: ${filter}`
  console.log(
    `  ${layer.layer.padEnd(14)} ${verdict === Verdict.ALLOW ? 'allow' : 'deny '} ${what}${values === '' ? '' : `  (${values})`}`,
  )
  if (nearest === undefined) return
  console.log(
    `  ${''.padEnd(14)}       nearest: ${nearest.rule}${nearest.filter === '' ? '' : ` (${nearest.filter})`}`,
  )
  for (const difference of nearest.differs) console.log(`  ${''.padEnd(14)}         the rule ${difference}`)
}
