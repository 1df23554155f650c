// The settings with which a policy is bound, by issuer of the token.

import type { Config } from '../config/config.ts'
import type { BindOptions } from '../policy/policy.ts'

/** How a policy is bound to principals of each issuer. */
export function bindOptionsOf(config: Config): ReadonlyMap<string, BindOptions> {
  const { denial, policy, issuers } = config
  return new Map(
    issuers.map(({ issuer, missingCeiling }) => [
      issuer,
      {
        userLayer: policy.userLayer,
        missingCeiling,
        qosAboveLimit: denial.qosAboveLimit,
        overlappingDeny: denial.overlappingDeny,
      },
    ]),
  )
}
