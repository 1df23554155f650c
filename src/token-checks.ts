// Who else is asked about tokens, by issuer: built from the configuration, started and closed with the app. Each process
// that holds connections asks for its own.

import type { AuditSink } from './audit/event.ts'
import type { Clock } from './clock.ts'
import { Introspection } from './identity/introspection.ts'
import { StatusLists } from './identity/status-lists.ts'
import type { TokenCheck } from './identity/token-check.ts'
import type { IssuerRuntime } from './identity/token-verifier.ts'
import { CheckedTokens, type CheckedTokensOptions } from './revocation/checked-tokens.ts'
import type { Catalogue } from './telemetry/catalogue.ts'
import { slotOf, type Tally } from './telemetry/tally.ts'

export interface TokenCheckPorts {
  clock: Clock
  roster: CheckedTokensOptions['roster']
  audit: AuditSink
  tally: Tally
  catalogue: Catalogue
}

export type TokenChecks = readonly CheckedTokens[]

/** Gives each issuer its checks. They are still to be started. */
export function openTokenChecks(
  issuers: readonly IssuerRuntime[],
  { clock, roster, audit, tally, catalogue }: TokenCheckPorts,
): TokenChecks {
  const ports: Omit<CheckedTokensOptions, 'source' | 'intervalMs'> = {
    clock,
    roster,
    count: (source, result) => tally.add(slotOf(catalogue.tokenChecks, source, result)),
    onCut: ({ issuer, tokenId }, source, failure, cut) => {
      tally.add(slotOf(catalogue.revocations, source, 'done'))
      const cause = { source, selector: { token: { iss: issuer, jti: tokenId } } }
      audit.append({ action: 'revoke', decision: 'allow', reason: failure, effect: `${cut} cut`, cause })
    },
  }
  return issuers.flatMap((issuer) => {
    const { config, keys } = issuer
    const { statusList, introspection } = config
    const checks: CheckedTokens[] = []
    const add = (check: TokenCheck, source: CheckedTokensOptions['source'], intervalMs: number): void => {
      checks.push(new CheckedTokens(check, { ...ports, source, intervalMs }))
    }
    if (statusList !== undefined)
      add(new StatusLists(statusList, config, keys, clock), 'status_list', statusList.maxAge)
    if (introspection !== undefined)
      add(new Introspection(introspection, clock), 'introspection', introspection.cache)
    issuer.checks = checks
    return checks
  })
}
