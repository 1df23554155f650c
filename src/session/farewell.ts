// How the broker learns that a session has ended, and what becomes of bytes that still wait.

import type { AuditEvent } from '../audit/event.ts'
import type { Config } from '../config/config.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { disconnect } from '../wire/reply.ts'
import type { Outbox } from './outbox.ts'
import { END_CAUSES, type EndCause } from './outcome.ts'
import type { Peer } from './ports.ts'

type Farewell = (typeof END_CAUSES)[EndCause]['server']

export interface EndOptions {
  detail?: string
  /** Replaces the DISCONNECT Reason Code of the cause. */
  reasonCode?: number
  /** What goes into the record of a cut. */
  because?: AuditEvent['cause']
}

/** By cause; `revocation.will` decides for whom is cut (REV-07). */
export function farewellOf(cause: EndCause, { revocation }: Config): Farewell {
  return cause === 'revoked' && revocation?.will === 'publish' ? 'close' : END_CAUSES[cause].server
}

const NO_SESSION = { sessionExpiryInterval: 0 }
const TO_SERVER: Readonly<Record<Exclude<Farewell, 'close'>, Buffer>> = {
  clean: disconnect(ReasonCode.SUCCESS),
  discard: disconnect(ReasonCode.SUCCESS, NO_SESSION),
  forget: disconnect(ReasonCode.DISCONNECT_WITH_WILL, NO_SESSION),
}

const plain = new Map<number, Buffer>()

/** DISCONNECT without properties, encoded once: thousands may be cut at a time. */
export function disconnectOf(code: number): Buffer {
  const packet = plain.get(code) ?? disconnect(code)
  plain.set(code, packet)
  return packet
}

/** DISCONNECT as far as one can be said, then the close. */
export function endServer(server: Outbox, farewell: Farewell): void {
  if (farewell !== 'close' && server.atBoundary) {
    server.send(TO_SERVER[farewell])
  }
  server.peer.end()
}

/** REV-01: those to which bytes still wait to be sent; of whoever is cut they would arrive after the cut. */
export function stuckPeers(cause: EndCause, sides: readonly Outbox[]): Peer[] {
  return cause === 'revoked' ? sides.map(({ peer }) => peer).filter((peer) => peer.backlog > 0) : []
}
