// One use of a just-in-time grant, in the hands of a connection: taken from the count that all processes share before it
// gets here (JIT-03), and found by revocation as long as it is here.

import type { Grant } from '../identity/grant-token.ts'
import type { Session } from './session.ts'

export class HeldGrant {
  readonly grant: Grant
  /** The subscription that it has opened, as subscribed. */
  filter: string | undefined
  isRevoked = false
  readonly #onRevoked: (held: HeldGrant) => void

  constructor(grant: Grant, onRevoked: (held: HeldGrant) => void) {
    this.grant = grant
    this.#onRevoked = onRevoked
  }

  /** By revocation: at once, and for good. */
  revoke(): () => void {
    this.isRevoked = true
    this.#onRevoked(this)
    return () => {}
  }
}

/**
 * Takes one use of a verified grant for this connection. A use that was taken for a connection that has gone meanwhile
 * is lost: it must not be given out twice.
 *
 * @returns why not, as in GRANT_REFUSALS or the faults of a grant; never rejects
 */
export async function takeUse(
  session: Session,
  grant: Grant,
  onRevoked: (held: HeldGrant) => void,
): Promise<HeldGrant | string> {
  const { grants, revocations, clock } = session.context
  if (!session.recorder.accepting) return 'audit_unavailable'
  const held = new HeldGrant(grant, onRevoked)
  // From here on a revocation finds it: there is no moment between the two (REV-18).
  const bar = revocations.enterGrant(held, grant)
  if (bar !== undefined) return bar
  const take = await grants!.take(grant)
  const why = held.isRevoked
    ? 'revoked'
    : take === 'spent'
      ? 'grant_spent'
      : take === 'unavailable'
        ? 'grants_unavailable'
        : clock.now() >= grant.expiresAtMs
          ? 'expired'
          : undefined
  if (why === undefined && session.receiving) return held
  revocations.leave(held)
  return why ?? 'connection_gone'
}
