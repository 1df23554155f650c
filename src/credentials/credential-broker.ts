// The tokens that Postern holds, by listener (`credentials: broker`): opened at start, asked by the sessions, told of in
// readiness, log and metrics.

import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import { HeldAdmission } from '../identity/held-admission.ts'
import type { TokenVerifier } from '../identity/token-verifier.ts'
import type { Logger } from '../telemetry/logger.ts'
import { HeldCredential } from './held-credential.ts'

export interface CredentialBrokerPorts {
  clock: Clock
  verifier: TokenVerifier
  logger: Logger
  /** Another token is in place for the agents of this listener. */
  onRenewed(listener: string): void
  count(result: 'ok' | 'failed'): void
}

export class CredentialBroker {
  readonly #held = new Map<string, HeldCredential>()

  constructor(config: Config, ports: CredentialBrokerPorts) {
    const { clock, verifier, logger, count } = ports
    const admission = new HeldAdmission(verifier, config)
    for (const { name, credentialSource } of config.listeners) {
      if (credentialSource === undefined) continue
      const held = new HeldCredential(credentialSource, {
        clock,
        verifier,
        admission,
        onRenewed: () => ports.onRenewed(name),
        onAttempt: (outcome) => {
          if (outcome.result === 'unchanged') return
          count(outcome.result)
          if (outcome.result === 'ok') {
            const until = new Date(outcome.expiresAtMs).toISOString()
            return logger.info({ listener: name, until }, 'a token for the agents of a listener')
          }
          const { reason, detail } = outcome
          logger.warn({ listener: name, reason, detail }, 'no fresh token for the agents of a listener')
        },
      })
      this.#held.set(name, held)
    }
  }

  /** Resolves when every first attempt has ended, however it went. */
  async start(): Promise<void> {
    await Promise.all([...this.#held.values()].map((held) => held.start()))
  }

  /** undefined: the agents of this listener bring their own credential. */
  of(listener: string): HeldCredential | undefined {
    return this.#held.get(listener)
  }

  /** Listeners with `credentials: broker`, in the order of the configuration. */
  get listeners(): string[] {
    return [...this.#held.keys()]
  }

  /** true, or which listeners have no good token. */
  ready(): true | string {
    const waiting = [...this.#held].filter(([, held]) => held.digest === undefined).map(([name]) => name)
    return waiting.length === 0 || `No good token for the agents of ${waiting.join(', ')}.`
  }

  async close(): Promise<void> {
    await Promise.all([...this.#held.values()].map((held) => held.close()))
  }
}
