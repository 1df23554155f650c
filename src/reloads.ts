// What is read again while Postern runs: when a file changes, and all of it on SIGHUP.

import type { Clock } from './clock.ts'
import { watchFile } from './file-watch.ts'
import type { RELOADS } from './telemetry/catalogue.ts'

export interface Reloadable {
  what: (typeof RELOADS)[number]
  /** Watched; the first is what reports name. Without any it is loaded by `all` only, and not reported. */
  files: readonly string[]
  /** @throws Error when what was read is no good; the former one stays in force */
  load(): Promise<void>
}

export interface ReloadOutcome {
  what: Reloadable['what']
  source: string
  /** Undefined: it went well. */
  error: unknown
}

export class Reloads {
  readonly #clock: Clock
  readonly #report: (outcome: ReloadOutcome) => void
  readonly #parts: Reloadable[] = []
  #stopWatching: (() => void)[] = []
  /** One after another, so that what was read last is what stays. */
  #last: Promise<void> = Promise.resolve()
  #closed = false

  constructor(clock: Clock, report: (outcome: ReloadOutcome) => void) {
    this.#clock = clock
    this.#report = report
  }

  /** The first reload waits for the start. */
  startAfter(started: Promise<void>): void {
    this.#last = started.catch(() => {})
  }

  async watch(part: Reloadable): Promise<void> {
    this.#parts.push(part)
    for (const file of part.files) {
      const onChange = (): void => void this.#inTurn(() => this.#load(part, file))
      this.#stopWatching.push(await watchFile(file, this.#clock, onChange))
    }
  }

  /** Everything. Never rejects. */
  all(): Promise<void> {
    return this.#inTurn(async () => {
      for (const part of this.#parts) await this.#load(part, part.files[0])
    })
  }

  close(): void {
    this.#closed = true
    for (const stop of this.#stopWatching) stop()
    this.#stopWatching = []
  }

  #inTurn(reload: () => Promise<void>): Promise<void> {
    this.#last = this.#last.then(() => (this.#closed ? undefined : reload()))
    return this.#last
  }

  async #load({ what, load }: Reloadable, source: string | undefined): Promise<void> {
    let error: unknown
    try {
      await load()
    } catch (thrown) {
      error = thrown
    }
    if (source !== undefined) this.#report({ what, source, error })
  }
}
