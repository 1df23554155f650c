// How configuration decides what a policy becomes for one principal. Pure.

import type { Config } from '../config/config.ts'
import type { BindOptions } from '../policy/policy.ts'

/** How a policy is bound to principals of an issuer on a listener; without one: as in mode `enforce`. */
export function bindOptionsOf(config: Config): (issuer: string, listener?: string) => BindOptions {
  const { denial, policy } = config
  const issuers = new Map(config.issuers.map((issuer) => [issuer.issuer, issuer]))
  const shadows = new Set(config.listeners.filter(({ mode }) => mode === 'shadow').map(({ name }) => name))
  return (issuer, listener = '') => ({
    userLayer: policy.userLayer,
    missingCeiling: issuers.get(issuer)!.missingCeiling,
    qosAboveLimit: denial.qosAboveLimit,
    overlappingDeny: denial.overlappingDeny,
    shadow: shadows.has(listener),
  })
}
