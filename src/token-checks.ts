// Who else is asked about tokens, by issuer: built from the configuration, started and closed with the app.

import type { Clock } from './clock.ts'
import { Introspection } from './identity/introspection.ts'
import { StatusLists } from './identity/status-lists.ts'
import type { TokenCheck } from './identity/token-check.ts'
import type { IssuerRuntime } from './identity/token-verifier.ts'
import { CheckedTokens, type CheckedTokensOptions } from './revocation/checked-tokens.ts'

/** Gives each issuer its checks. They are still to be started. */
export function openTokenChecks(
  issuers: readonly IssuerRuntime[],
  clock: Clock,
  ports: Pick<CheckedTokensOptions, 'roster' | 'onCut' | 'count'>,
): CheckedTokens[] {
  return issuers.flatMap((issuer) => {
    const { config, keys } = issuer
    const { statusList, introspection } = config
    const checks: CheckedTokens[] = []
    const add = (check: TokenCheck, source: CheckedTokensOptions['source'], intervalMs: number): void => {
      checks.push(new CheckedTokens(check, { ...ports, source, intervalMs, clock }))
    }
    if (statusList !== undefined)
      add(new StatusLists(statusList, config, keys, clock), 'status_list', statusList.maxAge)
    if (introspection !== undefined)
      add(new Introspection(introspection, clock), 'introspection', introspection.cache)
    issuer.checks = checks
    return checks
  })
}
