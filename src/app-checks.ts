// When agents can be served: what /readyz asks.

import type { AuditTrail } from './audit-trail.ts'
import type { CredentialBroker } from './credentials/credential-broker.ts'
import type { IssuerRuntime } from './identity/token-verifier.ts'
import type { UpstreamProbe } from './net/upstream-probe.ts'
import type { RevocationService } from './revocation/service.ts'
import type { Crew } from './roles.ts'
import type { Store } from './store/store.ts'
import type { ReadyCheck } from './telemetry/admin.ts'

/** Asked at every check, since not all of it is there from the start. */
export interface Checked {
  draining(): boolean
  issuers(): readonly IssuerRuntime[]
  credentials(): CredentialBroker
  audit(): AuditTrail
  revocation(): RevocationService | undefined
  upstream: UpstreamProbe
  store: Store | undefined
  crew: Crew | undefined
}

/** @param isWorker what all workers share is the first process's to check */
export function checksOf(of: Checked, isWorker: boolean): ReadyCheck[] {
  const { upstream, store, crew } = of
  const own: ReadyCheck[] = [
    { name: 'draining', ok: () => !of.draining() || 'Postern is shutting down.' },
    { name: 'keys', ok: () => keysReady(of.issuers()) },
    { name: 'credentials', ok: () => of.credentials().ready() },
    { name: 'audit', ok: () => of.audit().accepting || 'The audit log cannot be written.' },
  ]
  if (isWorker) return own
  const shared: ReadyCheck[] = [
    { name: 'events', ok: () => eventsHeard(of.revocation()) },
    { name: 'store', ok: () => !store?.isBlocking || 'The store that replicas share cannot be reached.' },
    { name: 'upstream', ok: () => upstream.reachable },
  ]
  const workers: ReadyCheck[] = crew === undefined ? [] : [{ name: 'workers', ok: () => crew.health }]
  return [...own, ...shared, ...workers]
}

/** All at once: true, or what is wrong, as sentences. */
export function healthOf(checks: readonly ReadyCheck[]): true | string {
  const found = checks.map(({ ok }) => ok()).filter((result) => result !== true)
  return found.length === 0 || found.join(' ')
}

function keysReady(issuers: readonly IssuerRuntime[]): true | string {
  const waiting = issuers.filter((issuer) => !issuer.keys.ready())
  if (waiting.length === 0) return true
  return `No usable keys for ${waiting.map((issuer) => issuer.config.issuer).join(', ')}.`
}

function eventsHeard(revocation: RevocationService | undefined): true | string {
  const silent = revocation?.silent ?? []
  return silent.length === 0 || `Nothing was heard of the event streams ${silent.join(', ')} for too long.`
}
