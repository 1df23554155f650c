// The session memory of a worker: of its own connections, the rest is asked of the first process.

import type { Claim, Memory, Remembered, SessionMemory, SessionState } from '../session/session-memory.ts'
import type { ToFirst, ToWorker } from './calls.ts'
import type { Link } from './link.ts'

export class WorkerMemory implements Memory {
  readonly #own: SessionMemory
  readonly #first: Pick<Link<ToFirst, ToWorker>, 'ask' | 'tell'>
  /** Of sessions that are about to be opened here; undefined: nothing is remembered. */
  readonly #recalled = new Map<string, Remembered | undefined>()
  /** Opened, and to be released with one word. */
  #opened: string | undefined

  constructor(own: SessionMemory, first: Pick<Link<ToFirst, ToWorker>, 'ask' | 'tell'>) {
    this.#own = own
    this.#first = first
  }

  claim(clientId: string, owner: string): Promise<Claim> {
    return this.#first.ask('claim', { clientId, owner })
  }

  release(clientId: string, owner: string): void {
    this.#recalled.delete(clientId)
    const isOpened = this.#opened === clientId
    this.#opened = undefined
    this.#first.tell(isOpened ? 'opened' : 'release', { clientId, owner })
  }

  async recall(clientId: string): Promise<void> {
    const known = await this.#first.ask('recall', clientId)
    if (known !== 'yours') this.#recalled.set(clientId, known)
  }

  open(clientId: string, owner: string, resumed: boolean): SessionState {
    // The name is released in the same step.
    this.#opened = clientId
    const known = this.#recalled.get(clientId)
    if (known !== undefined) this.#own.put(clientId, known)
    else if (this.#recalled.has(clientId)) this.#own.forget(clientId)
    return this.#own.open(clientId, owner, resumed)
  }

  close(clientId: string, state: SessionState, expiryIntervalS: number): void {
    if (!this.#own.isCurrent(clientId, state)) return
    this.#own.close(clientId, state, expiryIntervalS)
    this.#first.tell('closed', { clientId, remembered: this.#own.look(clientId) })
    this.#own.forget(clientId)
  }

  /** For another worker, which takes the session over. */
  look(clientId: string): Remembered | undefined {
    return this.#own.look(clientId)
  }

  moved(clientId: string): void {
    this.#own.forget(clientId)
  }
}
