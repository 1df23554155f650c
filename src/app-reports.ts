// What an app tells of its surroundings: reloads and the store, to metrics, audit trail and log.

import type { AuditTrail } from './audit-trail.ts'
import type { OnKeysLoaded } from './identity/issuers.ts'
import { PolicyError } from './policy-file.ts'
import type { ReloadOutcome } from './reloads.ts'
import type { ServicePorts } from './revocation/service.ts'
import type { StoreEvents } from './store/store.ts'
import type { Catalogue } from './telemetry/catalogue.ts'
import type { RevocationTimes } from './telemetry/decision-times.ts'
import type { Logger } from './telemetry/logger.ts'
import { slotOf, type Tally } from './telemetry/tally.ts'

export interface Reporting {
  tally: Tally
  catalogue: Catalogue
  logger: Logger
}

export function reportReload(outcome: ReloadOutcome, audit: AuditTrail, to: Reporting): void {
  const { what, source, error } = outcome
  const ok = error === undefined
  to.tally.add(slotOf(to.catalogue.reloads, what, ok ? 'ok' : 'failed'))
  audit.append({
    action: what,
    decision: ok ? 'allow' : 'deny',
    reason: ok ? 'ok' : 'reload_failed',
    effect: ok ? 'in force' : 'the former one stays in force',
    detail: source,
  })
  if (ok) return to.logger.info({ what, source }, 'reloaded')
  const problems = error instanceof PolicyError ? error.problems : undefined
  const fields = { what, source, err: error, problems }
  to.logger.error(fields, 'reload failed; the former one stays in force')
}

export function revocationReports(
  times: RevocationTimes,
  to: Reporting,
): Pick<ServicePorts, 'count' | 'countEvent' | 'observe' | 'onPollFailure'> {
  const { tally, catalogue, logger } = to
  return {
    count: (source, result) => tally.add(slotOf(catalogue.revocations, source, result)),
    countEvent: (event, result) => tally.add(slotOf(catalogue.securityEvents, event, result)),
    observe: (seconds) => times.observe(seconds, 1),
    onPollFailure: (stream, reason) => logger.warn({ stream, reason }, 'security events could not be polled'),
  }
}

export function keysReport(to: Reporting): OnKeysLoaded {
  return (issuer, result) => {
    to.tally.add(slotOf(to.catalogue.keyFetches, result === 'ok' ? 'ok' : 'failed'))
    if (result !== 'ok') to.logger.warn({ issuer, result }, 'keys could not be fetched')
  }
}

/** A signing key has gone from its issuer's key set, and its connections have been ended (KEY-06). */
export function reportWithdrawal(
  key: { iss: string; kid: string },
  cut: number,
  audit: AuditTrail,
  to: Reporting,
): void {
  const cause = { source: 'keys', selector: { key } }
  audit.append({ action: 'revoke', decision: 'allow', reason: 'key_withdrawn', effect: `${cut} cut`, cause })
  to.tally.add(slotOf(to.catalogue.revocations, 'keys', 'done'))
  to.logger.info({ ...key, cut }, 'a signing key was withdrawn')
}

/** @param onChange contact was lost, or is back */
export function storeReports(onFailure: string, to: Reporting, onChange: () => void): StoreEvents {
  return {
    changed: (up, why) => {
      onChange()
      if (up) to.logger.info({}, 'the store is in contact')
      else to.logger.error({ why, onFailure }, 'the store cannot be reached')
    },
    count: (result) => to.tally.add(slotOf(to.catalogue.storeRequests, result)),
  }
}
