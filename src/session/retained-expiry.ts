// ACL-14: by option a retained message lives no longer than the right to publish it, and a Will is not put off to after
// its end. RFC 9431 §2.2.3

import type { ConnectHead } from '../wire/heads.ts'
import type { MessageRights } from './message-rights.ts'
import type { Session } from './session.ts'

/** What is left of the token, seconds, at least 1; undefined: messages stay as they are. */
function secondsLeft({ context, standing }: Session, rights?: MessageRights): number | undefined {
  if (context.config.sessions.retainedExpiry === 'keep') return undefined
  const endsAtMs = Math.min(standing.endsAtMs, rights?.principal.endsAtMs ?? Number.POSITIVE_INFINITY)
  return Math.max(1, Math.floor((endsAtMs - context.clock.now()) / 1000))
}

/**
 * @param asked Message Expiry Interval of the PUBLISH, seconds; -1: none
 * @param rights of the message, if it has its own
 * @returns the interval to set, or undefined to leave the message as it is
 */
export function retainedExpiry(session: Session, asked: number, rights?: MessageRights): number | undefined {
  const leftS = secondsLeft(session, rights)
  return leftS === undefined || (asked >= 0 && asked <= leftS) ? undefined : leftS
}

/**
 * The same for a Will. The server publishes it when the connection has ended, whenever that is, and counts its interval
 * from then: what the token has left now is the most that can be said in a CONNECT.
 */
export function willIntervals(session: Session, connect: ConnectHead): WillIntervals {
  const leftS = secondsLeft(session)
  if (!connect.hasWill || leftS === undefined) return {}
  return {
    ...(connect.willRetain
      ? { willMessageExpiryInterval: retainedExpiry(session, connect.willMessageExpiryInterval) }
      : {}),
    ...(connect.willDelayInterval > leftS ? { willDelayInterval: leftS } : {}),
  }
}

/** Seconds; what is left out stays as the client said. */
interface WillIntervals {
  willMessageExpiryInterval?: number | undefined
  willDelayInterval?: number | undefined
}
