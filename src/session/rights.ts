// What one connection may do at this moment: who it belongs to, the rules that follow, and until when. Replaced as a
// whole by a new policy or a renewed token; nothing in here is a cache that could be out of date unnoticed.

import type { Timer } from '../clock.ts'
import type { Principal } from '../identity/principal.ts'
import type { Acl } from '../policy/acl.ts'
import type { TopicFilter } from '../policy/topic-filter.ts'
import type { SessionContext } from './context.ts'

/** Number of the next set of rights, process-wide: a message allowed under another set is judged again. */
let nextSerial = 1

export class Rights {
  principal: Principal | undefined
  /** There once a principal is. */
  acl: Acl | undefined
  /** Grows with every change; 0 before the first. */
  serial = 0
  /** Milliseconds since the epoch: no packet passes at or after this. */
  endsAtMs = Number.POSITIVE_INFINITY
  readonly #context: SessionContext
  readonly #listener: string
  readonly #openFilters: readonly TopicFilter[]
  readonly #onExpiry: () => void
  #timer: Timer | undefined
  #epoch = -1

  /**
   * @param listener by which the connection came
   * @param openFilters of subscriptions that grants have opened; changes as they come and go
   */
  constructor(
    context: SessionContext,
    listener: string,
    openFilters: readonly TopicFilter[],
    onExpiry: () => void,
  ) {
    this.#context = context
    this.#openFilters = openFilters
    this.#listener = listener
    this.#onExpiry = onExpiry
  }

  /** false: a newer policy is in force than the one that was applied. */
  get isCurrent(): boolean {
    return this.#epoch === this.#context.policyInForce.epoch
  }

  /** Takes the principal of a token that was just verified. */
  use(principal: Principal): void {
    this.principal = principal
    this.endsAtMs = principal.endsAtMs
    this.bind()
  }

  /** Sets the timer for the end of the token, in place of an earlier one. */
  arm(): void {
    const { clock } = this.#context
    this.disarm()
    this.#timer = clock.after(Math.max(0, this.endsAtMs - clock.now()), this.#onExpiry)
  }

  disarm(): void {
    this.#timer?.cancel()
  }

  /** What was allowed is judged again: something that it rests on has ended. */
  touch(): void {
    this.serial = nextSerial++
  }

  /** Applies the policy in force. */
  bind(): void {
    const { policyInForce, logger } = this.#context
    const principal = this.principal!
    this.acl = policyInForce.policy.bind(
      principal,
      this.#context.bindOptionsOf(principal.issuer, this.#listener),
    )
    this.acl.openFilters = this.#openFilters
    this.#epoch = policyInForce.epoch
    this.serial = nextSerial++
    for (const problem of this.acl.bindProblems) {
      logger.warn({ client_id: principal.clientId, problem }, 'a rule does not apply to this principal')
    }
  }
}
