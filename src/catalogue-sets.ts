// The closed sets of label values, from the layers that own them.

import type { Config } from './config/config.ts'
import { AUTH_FAILURES } from './identity/auth-failure.ts'
import { GRANT_FAULTS } from './identity/grant-token.ts'
import { EVENT_NAMES } from './revocation/event-mapping.ts'
import { SOURCES } from './revocation/revocations.ts'
import {
  CARRIED_REFUSALS,
  CONNECT_REFUSALS,
  END_CAUSES,
  GRANT_REFUSALS,
  OUTCOME_NAMES,
  RENEWAL_REFUSALS,
  SESSION_FAULTS,
} from './session/outcome.ts'
import { SHADOWED_ROWS } from './session/recorder.ts'
import { type Catalogue, declareCatalogue } from './telemetry/catalogue.ts'
import type { Tally } from './telemetry/tally.ts'
import { FAULTS } from './wire/fault.ts'

/** Declares every metric in `tally`. */
export function catalogueFor(config: Config, tally: Tally): Catalogue {
  return declareCatalogue(tally, {
    verdicts: OUTCOME_NAMES,
    shadowed: SHADOWED_ROWS,
    authFailures: [...new Set([...AUTH_FAILURES, ...Object.keys(CONNECT_REFUSALS)])],
    revocationSources: SOURCES,
    securityEvents: EVENT_NAMES,
    eventStreams: (config.revocation?.events ?? []).map(({ name }) => name),
    renewalFailures: [...AUTH_FAILURES, ...RENEWAL_REFUSALS],
    grantFailures: [...GRANT_FAULTS, ...GRANT_REFUSALS],
    carriedFailures: [...AUTH_FAILURES, ...CARRIED_REFUSALS],
    faults: [...FAULTS, ...SESSION_FAULTS].map((fault) => fault.name),
    endCauses: Object.keys(END_CAUSES),
    hasStore: config.store !== undefined,
    issuers: config.issuers.map((issuer) => issuer.issuer),
    brokeredListeners: config.listeners
      .filter(({ credentialSource }) => credentialSource !== undefined)
      .map(({ name }) => name),
  })
}
