// ACL-14: by option a retained message lives no longer than the right to publish it. RFC 9431 §2.2.3

import type { MessageRights } from './message-rights.ts'
import type { Session } from './session.ts'

/**
 * @param asked Message Expiry Interval of the PUBLISH, seconds; -1: none
 * @param rights of the message, if it has its own
 * @returns the interval to set, or undefined to leave the message as it is
 */
export function retainedExpiry(
  { context, standing }: Session,
  asked: number,
  rights: MessageRights | undefined,
): number | undefined {
  if (context.config.sessions.retainedExpiry === 'keep') return undefined
  const endsAtMs = Math.min(standing.endsAtMs, rights?.principal.endsAtMs ?? Number.POSITIVE_INFINITY)
  const leftS = Math.max(1, Math.floor((endsAtMs - context.clock.now()) / 1000))
  return asked >= 0 && asked <= leftS ? undefined : leftS
}
