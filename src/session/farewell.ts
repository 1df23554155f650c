// How the broker learns that a session has ended, and what becomes of bytes that still wait.

import type { Config } from '../config/config.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { disconnect } from '../wire/reply.ts'
import type { Outbox } from './outbox.ts'
import { END_CAUSES, type EndCause } from './outcome.ts'
import type { Peer } from './ports.ts'

type Farewell = (typeof END_CAUSES)[EndCause]['server']

/** By cause; `revocation.will` decides for whom is cut (REV-07). */
export function farewellOf(cause: EndCause, { revocation }: Config): Farewell {
  return cause === 'revoked' && revocation?.will === 'publish' ? 'close' : END_CAUSES[cause].server
}

/** DISCONNECT as far as one can be said, then the close. */
export function endServer(server: Outbox, farewell: Farewell): void {
  if (farewell !== 'close' && server.atBoundary) {
    const code = farewell === 'forget' ? ReasonCode.DISCONNECT_WITH_WILL : ReasonCode.SUCCESS
    server.send(disconnect(code, farewell === 'clean' ? {} : { sessionExpiryInterval: 0 }))
  }
  server.peer.end()
}

/** REV-01: those to which bytes still wait to be sent; of whoever is cut they would arrive after the cut. */
export function stuckPeers(cause: EndCause, sides: readonly Outbox[]): Peer[] {
  return cause === 'revoked' ? sides.map(({ peer }) => peer).filter((peer) => peer.backlog > 0) : []
}
