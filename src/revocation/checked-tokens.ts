// Tokens in use of which somebody else is asked whether they still hold: asked again at an interval, and whoever bears
// one that holds no more is cut. A token is kept out until it is found to hold again. REV-13, REV-14.

import type { Clock, Timer } from '../clock.ts'
import {
  type CheckedToken,
  type CheckFailure,
  isUnavailable,
  type TokenCheck,
} from '../identity/token-check.ts'
import type { Roster } from './roster.ts'

export type CheckSource = 'status_list' | 'introspection'

export interface CheckedTokensOptions {
  source: CheckSource
  intervalMs: number
  clock: Clock
  roster: Pick<Roster, 'isInUse' | 'suspend' | 'resume'>
  /** Connections were ended because their token holds no more. */
  onCut(token: CheckedToken, source: CheckSource, failure: CheckFailure, cut: number): void
  count(source: CheckSource, result: 'ok' | 'refused' | 'unavailable'): void
}

const AT_A_TIME = 8

interface Known extends CheckedToken {
  /** Rounds in which nobody bore it: between its check and the connection's admission there may be one. */
  unused: number
}

export class CheckedTokens implements TokenCheck {
  readonly #check: TokenCheck
  readonly #options: CheckedTokensOptions
  /** By digest. */
  readonly #known = new Map<string, Known>()
  #timer: Timer | undefined
  #round: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(check: TokenCheck, options: CheckedTokensOptions) {
    this.#check = check
    this.#options = options
  }

  async check(token: CheckedToken): Promise<CheckFailure | undefined> {
    const failure = await this.#ask(token)
    if (failure === undefined) {
      this.#known.set(token.digest, { ...token, unused: 0 })
      this.#options.roster.resume(token.issuer, token.tokenId, this.#options.source)
    }
    return failure
  }

  start(): void {
    this.#timer = this.#options.clock.after(this.#options.intervalMs, () => {
      this.#round = this.#again().finally(() => {
        if (!this.#closed) this.start()
      })
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.#check.close()
    await this.#round
  }

  async #ask(token: CheckedToken): Promise<CheckFailure | undefined> {
    const { source, count } = this.#options
    const failure = await this.#check.check(token)
    count(source, failure === undefined ? 'ok' : isUnavailable(failure) ? 'unavailable' : 'refused')
    return failure
  }

  async #again(): Promise<void> {
    const due = [...this.#known.values()].filter((known) => this.#isOfUse(known))
    const one = async (): Promise<void> => {
      for (let known = due.pop(); known !== undefined && !this.#closed; known = due.pop()) {
        await this.#checkAgain(known)
      }
    }
    await Promise.all(Array.from({ length: AT_A_TIME }, one))
  }

  #isOfUse(known: Known): boolean {
    const { clock, roster, source } = this.#options
    const { issuer, tokenId, digest, expiresAtMs } = known
    if (roster.isInUse(issuer, tokenId)) {
      known.unused = 0
      return true
    }
    known.unused += 1
    if (known.unused > 1 || expiresAtMs <= clock.now()) {
      this.#known.delete(digest)
      roster.resume(issuer, tokenId, source)
    }
    return false
  }

  /** When nobody can be asked, who is connected stays until the token ends; nobody else is let in with it. */
  async #checkAgain({ unused: _, ...token }: Known): Promise<void> {
    const { source, roster, onCut } = this.#options
    const failure = await this.#ask(token)
    if (failure === undefined || isUnavailable(failure) || this.#closed) return
    onCut(token, source, failure, roster.suspend(token.issuer, token.tokenId, source))
  }
}
