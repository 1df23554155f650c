// ACL-14: by option a retained message lives no longer than the right to publish it. RFC 9431 §2.2.3

import type { Session } from './session.ts'

/**
 * @param asked Message Expiry Interval of the PUBLISH, seconds; -1: none
 * @returns the interval to set, or undefined to leave the message as it is
 */
export function retainedExpiry({ context, endsAtMs }: Session, asked: number): number | undefined {
  if (context.config.sessions.retainedExpiry === 'keep') return undefined
  const leftS = Math.max(1, Math.floor((endsAtMs - context.clock.now()) / 1000))
  return asked >= 0 && asked <= leftS ? undefined : leftS
}
