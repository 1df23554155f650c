// The token that Postern holds for the agents of one listener: from a file or a token endpoint, fetched anew before it
// ends. One that the proxy itself would refuse is never put in place of a good one. The token is handed to nobody but the
// verifier. DEL-14.

import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Clock, Timer } from '../clock.ts'
import type { CredentialSourceConfig } from '../config/credential-config.ts'
import { watchFile } from '../file-watch.ts'
import type { Authentication, RenewalAnswer } from '../identity/authenticator.ts'
import type { HeldAdmission } from '../identity/held-admission.ts'
import type { Principal } from '../identity/principal.ts'
import { TokenRequester } from '../identity/token-request.ts'
import type { TokenVerifier } from '../identity/token-verifier.ts'
import type { ConnectHead } from '../wire/heads.ts'

export interface HeldCredentialPorts {
  clock: Clock
  verifier: TokenVerifier
  admission: HeldAdmission
  /** Another token is in place: live sessions are to be renewed. */
  onRenewed(): void
  /** An attempt has ended. */
  onAttempt(outcome: Attempt): void
}

/** `unchanged`: the file holds the token that is in place. */
export type Attempt =
  | { result: 'ok'; expiresAtMs: number }
  | { result: 'unchanged' }
  | {
      result: 'failed'
      /** Of a request, of a file, or why the verifier refuses the token. Never text from a token. */
      reason: string
      detail?: string | undefined
    }

interface Held {
  token: string
  digest: string
  expiresAtMs: number
}

const SHORTEST_WAIT_MS = 1_000
const LONGEST_RETRY_MS = 60_000

export class HeldCredential {
  readonly #source: CredentialSourceConfig
  readonly #ports: HeldCredentialPorts
  readonly #requester: TokenRequester | undefined
  #held: Held | undefined
  #inFlight: Promise<void> | undefined
  /** A file changed while an attempt was under way. */
  #isDueAgain = false
  #failures = 0
  #next: Timer | undefined
  #stopWatching: (() => void)[] = []
  #closed = false

  constructor(source: CredentialSourceConfig, ports: HeldCredentialPorts) {
    this.#source = source
    this.#ports = ports
    const { tokenEndpoint } = source
    this.#requester = tokenEndpoint && new TokenRequester(tokenEndpoint, ports.clock)
  }

  /** Resolves when the first attempt has ended, however it went. */
  async start(): Promise<void> {
    const files = this.#requester?.files ?? [this.#source.tokenFile!]
    // Before they are read, so that no change is missed.
    for (const file of files) {
      this.#stopWatching.push(await watchFile(file, this.#ports.clock, () => void this.#onChange()))
    }
    await this.refresh()
  }

  /** undefined: none that is good is at hand. */
  get digest(): string | undefined {
    return this.#good?.digest
  }

  /** Milliseconds until the token in place ends; undefined without one, negative when it has ended. */
  get remainingMs(): number | undefined {
    return this.#held && this.#held.expiresAtMs - this.#ports.clock.now()
  }

  admit(source: Buffer, connect: ConnectHead): Promise<Authentication> {
    return this.#ports.admission.admit(source, connect, this.#good?.token)
  }

  renew(current: Principal): Promise<RenewalAnswer> {
    return this.#ports.admission.renew(this.#good?.token, current)
  }

  /** Joins the attempt under way or begins one. Never rejects. */
  refresh(): Promise<void> {
    this.#inFlight ??= this.#attempt().finally(() => {
      this.#inFlight = undefined
      if (this.#isDueAgain && !this.#closed) {
        this.#isDueAgain = false
        void this.refresh()
      }
    })
    return this.#inFlight
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#next?.cancel()
    for (const stop of this.#stopWatching) stop()
    await this.#requester?.close()
  }

  get #good(): Held | undefined {
    return (this.remainingMs ?? 0) > 0 ? this.#held : undefined
  }

  async #onChange(): Promise<void> {
    await this.#requester?.forgetConnections()
    if (this.#closed) return
    if (this.#inFlight === undefined) return this.refresh()
    this.#isDueAgain = true
  }

  async #attempt(): Promise<void> {
    this.#next?.cancel()
    const before = this.#held?.digest
    const outcome = await this.#obtain()
    if (this.#closed) return
    this.#failures = outcome.result === 'failed' ? this.#failures + 1 : 0
    this.#ports.onAttempt(outcome)
    this.#schedule()
    if (this.#held !== undefined && this.#held.digest !== before) this.#ports.onRenewed()
  }

  async #obtain(): Promise<Attempt> {
    const answer = await (this.#requester?.request() ?? this.#readFile())
    if (!answer.ok) return { result: 'failed', reason: answer.reason, detail: answer.detail }
    const { token } = answer
    const digest = hash('sha256', token)
    if (digest === this.#held?.digest) return { result: 'unchanged' }
    const verified = await this.#ports.verifier.verify(token)
    if (!verified.ok) return { result: 'failed', reason: verified.reason, detail: verified.detail }
    const { expiresAtMs } = verified.principal
    this.#held = { token, digest, expiresAtMs }
    return { result: 'ok', expiresAtMs }
  }

  /** A file tells of itself; an endpoint is asked anew when a third of the time is left, and after failures. */
  #schedule(): void {
    if (this.#requester === undefined && this.#failures === 0) return
    const retryMs = Math.min(SHORTEST_WAIT_MS * 2 ** Math.min(this.#failures - 1, 10), LONGEST_RETRY_MS)
    const waitMs =
      this.#failures > 0 ? retryMs : Math.max(SHORTEST_WAIT_MS, ((this.remainingMs ?? 0) * 2) / 3)
    this.#next = this.#ports.clock.after(waitMs, () => void this.refresh())
  }

  async #readFile(): Promise<{ ok: true; token: string } | { ok: false; reason: string; detail?: string }> {
    try {
      return { ok: true, token: (await readFile(this.#source.tokenFile!, 'utf8')).trim() }
    } catch (error) {
      const detail = (error as NodeJS.ErrnoException).code
      return { ok: false, reason: 'unreadable_file', ...(detail === undefined ? {} : { detail }) }
    }
  }
}
