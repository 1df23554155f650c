// Puts together what all sessions of a process share.

import type { AuditTrail } from './audit-trail.ts'
import type { Clock } from './clock.ts'
import type { Config } from './config/config.ts'
import type { CredentialBroker } from './credentials/credential-broker.ts'
import type { Authenticator } from './identity/authenticator.ts'
import { dial } from './net/dialer.ts'
import { eventLoop } from './net/event-loop.ts'
import type { UpstreamTls } from './net/upstream-tls.ts'
import type { Policy } from './policy/policy.ts'
import { bindOptionsOf } from './session/bind-options.ts'
import type { SessionContext } from './session/context.ts'
import { slotsIn } from './session/slots.ts'
import { WakeCoalescing } from './session/wake-coalescing.ts'
import type { Catalogue } from './telemetry/catalogue.ts'
import type { DecisionTimes } from './telemetry/decision-times.ts'
import type { Logger } from './telemetry/logger.ts'
import type { Tally } from './telemetry/tally.ts'

export interface ContextParts extends Pick<SessionContext, 'revocations' | 'memory' | 'grants' | 'counted'> {
  clock: Clock
  logger: Logger
  tally: Tally
  catalogue: Catalogue
  times: DecisionTimes
  policy: Policy
  authenticator: Authenticator
  credentials: CredentialBroker
  audit: AuditTrail
  tls: UpstreamTls | undefined
}

export function contextOf(config: Config, parts: ContextParts): SessionContext {
  const { authenticator, credentials, audit, catalogue, times, policy, tls, ...shared } = parts
  return {
    ...shared,
    config,
    audit,
    digest: audit.keys.digest,
    pseudonym: audit.keys.pseudonym,
    slots: slotsIn(catalogue),
    admit: (source, connect, peerHost, evidence, listener) =>
      credentials.of(listener)?.admit(source, connect) ??
      authenticator.authenticate(source, connect, peerHost, evidence),
    heldToken: (listener) => credentials.of(listener),
    renew: (data, current, peerHost, method) =>
      method === undefined
        ? authenticator.renew(data, current, peerHost)
        : authenticator.renewBy(method, data, current, peerHost),
    verifyCarried: (token, current, peer) => authenticator.verifyCarried(token, current, peer.host, peer.tls),
    tokenTopic: config.token.topic === undefined ? undefined : Buffer.from(config.token.topic),
    grantTopic: config.grants?.topic === undefined ? undefined : Buffer.from(config.grants.topic),
    dial: (events, client) => {
      const { address, connectTimeout: timeoutMs, proxyProtocol } = config.upstream
      const proxyFor = proxyProtocol === 'v2' ? client : undefined
      return dial({ address, clock: shared.clock, timeoutMs, tls, proxyFor }, events)
    },
    bindOptionsOf: bindOptionsOf(config),
    policyInForce: { policy, epoch: 1 },
    draining: false,
    wakes: new WakeCoalescing(eventLoop, config.coalesceQos0, (ms) =>
      shared.tally.add(catalogue.rested.first, ms / 1000),
    ),
    observeDecisions: (seconds, count) => times.observe(seconds, count),
  }
}

/** Whether something that would be denied may be let through. */
export function isInShadow({ listeners }: Config, { rules }: Policy): boolean {
  return rules.shadow !== undefined || listeners.some(({ mode }) => mode === 'shadow')
}
