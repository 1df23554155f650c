// The issuers of an app with their keys, and what becomes of connections whose key is withdrawn.

import { keysReport, type Reporting, reportWithdrawal } from './app-reports.ts'
import type { AuditTrail } from './audit-trail.ts'
import type { Clock } from './clock.ts'
import type { Config } from './config/config.ts'
import { type OnKeysLoaded, openIssuers } from './identity/issuers.ts'
import type { IssuerRuntime } from './identity/token-verifier.ts'
import type { Roster } from './revocation/roster.ts'
import { WithdrawnKeys } from './revocation/withdrawn-keys.ts'

export interface KeyParts {
  clock: Clock
  readFile(path: string): Promise<Buffer>
  /** undefined while nobody can be connected to this process. */
  roster(): Roster | undefined
  /** There when there is a roster. */
  audit(): AuditTrail
  reporting: Reporting
}

export interface OpenedKeys {
  issuers: IssuerRuntime[]
  onKeysLoaded: OnKeysLoaded
}

/** @throws PosternError as `openIssuers` */
export async function openKeysOf({ issuers }: Config, parts: KeyParts): Promise<OpenedKeys> {
  const { clock, readFile, roster, audit, reporting } = parts
  const onKeysLoaded = keysReport(reporting)
  const withdrawn = new WithdrawnKeys(issuers, roster, (key, cut) =>
    reportWithdrawal(key, cut, audit(), reporting),
  )
  const onReplaced = withdrawn.replaced.bind(withdrawn)
  return { issuers: await openIssuers(issuers, clock, onKeysLoaded, readFile, onReplaced), onKeysLoaded }
}
