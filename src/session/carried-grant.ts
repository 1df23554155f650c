// The just-in-time grant that a PUBLISH carries in a User Property. The message waits, and with it all that the agent
// sends behind it, while the grant is verified, and again while one use of it is taken; each time it is judged anew. So
// there is at most one at a time. Nothing is kept: the same bytes in the next message are verified and counted again.

import { hash } from 'node:crypto'
import type { Grant } from '../identity/grant-token.ts'
import type { Principal } from '../identity/principal.ts'
import type { PublishRequest } from '../policy/request.ts'
import { matches } from '../policy/topic-filter.ts'
import type { Waiter } from './agent-input.ts'
import { type HeldGrant, takeUse } from './held-grant.ts'
import type { Session } from './session.ts'

/** What a message that cannot be judged yet waits for. */
export const Wait = {
  /** Its grant: the waiter will be told. */
  FOR_GRANT: -1,
  /** The rest of its payload, which a grant is bound to. */
  FOR_PAYLOAD: -2,
} as const
export type Wait = (typeof Wait)[keyof typeof Wait]

/** Of the payload of a message: what is there, or how long it will be. */
export interface PayloadSoFar {
  chunk: Buffer
  start: number
  length: number
}

type Stage =
  | { at: 'waiting' }
  | { at: 'verified'; grant: Grant }
  | { at: 'taken'; held: HeldGrant }
  | { at: 'refused'; reason: string }

export class CarriedGrant {
  readonly #session: Session
  /** Of the message that waits. */
  #stage: Stage | undefined
  #waiter: Waiter | undefined

  constructor(session: Session) {
    this.#session = session
  }

  /** @param waiter told when the message that waits can be judged anew */
  resumeWith(waiter: Waiter): void {
    this.#waiter = waiter
  }

  /** The message that waited is decided, or gone. A use that was taken for it in vain is lost. */
  settle(): void {
    const stage = this.#stage
    if (stage === undefined) return
    this.#stage = undefined
    if (stage.at === 'taken') this.#session.context.revocations.leave(stage.held)
  }

  /**
   * Looks at the grant in `source[start, end)` of a message that needs one.
   *
   * @returns a use of it for this message, what the message waits for, or why it is refused
   */
  find(
    source: Buffer,
    [start, end]: readonly [number, number],
    request: PublishRequest,
    payload: PayloadSoFar,
    bearer: Principal,
  ): HeldGrant | Wait | string {
    const stage = this.#stage
    const { clock, config, revocations } = this.#session.context
    if (stage === undefined) {
      this.#verify(Buffer.from(source.subarray(start, end)), bearer)
      return Wait.FOR_GRANT
    }
    if (stage.at === 'verified') {
      const { grant } = stage
      const unfit = unfitness(grant, request, payload, config.grants!.maxPayload)
      if (unfit === Wait.FOR_PAYLOAD) return unfit
      if (unfit !== undefined) return this.#refuse(unfit, grant)
      this.#take(grant)
      return Wait.FOR_GRANT
    }
    if (stage.at === 'waiting') return Wait.FOR_GRANT
    this.#stage = undefined
    if (stage.at === 'refused') return stage.reason
    const { held } = stage
    if (held.isRevoked) return this.#refuse('revoked', held.grant)
    // Behind the audit log it may have waited for longer than its grant lasts.
    if (clock.now() < held.grant.expiresAtMs) return held
    revocations.leave(held)
    return this.#refuse('expired', held.grant)
  }

  #verify(token: Buffer, bearer: Principal): void {
    this.#stage = { at: 'waiting' }
    const session = this.#session
    session.context
      .grants!.check(token, bearer)
      .then((answer) => {
        if (!session.relaying) return
        if (answer.ok) this.#stage = { at: 'verified', grant: answer.grant }
        else {
          session.recorder.grant(answer.reason, 'refused', answer.claimed, answer.detail)
          this.#stage = { at: 'refused', reason: answer.reason }
        }
        this.#waiter!.proceed()
      })
      .catch((error: unknown) => session.onPanic(error))
  }

  #take(grant: Grant): void {
    this.#stage = { at: 'waiting' }
    const session = this.#session
    takeUse(session, grant, () => {})
      .then((held) => {
        if (!session.relaying) return
        if (typeof held === 'string') {
          session.recorder.grant(held, 'refused', grant)
          this.#stage = { at: 'refused', reason: held }
        } else {
          session.recorder.grant('ok', 'taken', grant)
          this.#stage = { at: 'taken', held }
        }
        this.#waiter!.proceed()
      })
      .catch((error: unknown) => session.onPanic(error))
  }

  #refuse(reason: string, grant: Grant): string {
    this.#session.recorder.grant(reason, 'refused', grant)
    return reason
  }
}

/** Why the grant is not for this message; FOR_PAYLOAD: that cannot be told yet; undefined: it is. */
export function unfitness(
  { action, filter, payloadSha256 }: Grant,
  { topic, topicStart, topicEnd }: PublishRequest,
  { chunk, start, length }: PayloadSoFar,
  maxPayload: number,
): 'other_action' | 'other_payload' | 'payload_too_long' | typeof Wait.FOR_PAYLOAD | undefined {
  if (action !== 'publish' || !matches(filter, topic, topicStart, topicEnd)) return 'other_action'
  if (payloadSha256 === undefined) return undefined
  if (length > maxPayload) return 'payload_too_long'
  if (start + length > chunk.length) return Wait.FOR_PAYLOAD
  return hash('sha256', chunk.subarray(start, start + length)) === payloadSha256 ? undefined : 'other_payload'
}
