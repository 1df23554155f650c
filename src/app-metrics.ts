// Everything that Prometheus is told, from where it is known.

import type { AuditTrail } from './audit-trail.ts'
import type { CredentialBroker } from './credentials/credential-broker.ts'
import type { IssuerRuntime } from './identity/token-verifier.ts'
import type { Policy } from './policy/policy.ts'
import type { RevocationService } from './revocation/service.ts'
import type { Store } from './store/store.ts'
import type { Catalogue } from './telemetry/catalogue.ts'
import type { DecisionTimes, RevocationTimes } from './telemetry/decision-times.ts'
import { Metrics } from './telemetry/metrics.ts'
import type { Tally } from './telemetry/tally.ts'

export interface MetricSources {
  /** Of Postern. */
  version: string
  times: DecisionTimes
  revocationTimes: RevocationTimes
  policyInForce(): Policy
  policyLoadedMs(): number
  audit: AuditTrail
  /** In the order of the configuration, as the rows of the catalogue. */
  issuers: readonly IssuerRuntime[]
  /** undefined in a worker. */
  revocation: RevocationService | undefined
  /** Processes that take connections. */
  workers(): number
  store: Store | undefined
  credentials: CredentialBroker
  inShadow(): boolean
  ready(): boolean
}

export function metricsOf(tally: Tally, rows: Catalogue, from: MetricSources): Metrics {
  const metrics = new Metrics(tally)
  metrics.decisionTimes(from.times)
  metrics.revocationTimes(from.revocationTimes)
  metrics.buildInfo(from.version, process.version)
  metrics.policyInfo(() => from.policyInForce().version)
  metrics.gauge(rows.auditPendingBytes, () => from.audit.pendingBytes, 'sum')
  const keySetAge = (row: number): number => (from.issuers[row]!.keys.ageMs() ?? Number.NaN) / 1000
  metrics.gauge(rows.keySetAge, keySetAge, 'max')
  const { revocation } = from
  if (revocation !== undefined) {
    metrics.gauge(rows.revocationMarks, () => revocation.revocations.size)
    metrics.gauge(rows.eventContactAge, (row) => revocation.streams[row]!.contactAgeS)
    metrics.gauge(rows.eventVerificationAge, (row) => revocation.streams[row]!.verificationAgeS)
  }
  metrics.gauge(rows.workers, () => from.workers())
  metrics.gauge(rows.storeUp, () => (from.store?.isUp ? 1 : 0))
  metrics.gauge(rows.credentialRemaining, (row) => {
    const name = from.credentials.listeners[row]!
    return (from.credentials.of(name)!.remainingMs ?? Number.NaN) / 1000
  })
  metrics.gauge(rows.policyLoaded, () => from.policyLoadedMs() / 1000)
  metrics.gauge(rows.shadowMode, () => (from.inShadow() ? 1 : 0))
  metrics.gauge(rows.ready, () => (from.ready() ? 1 : 0))
  return metrics
}
