// Copies of the records for other places, byte for byte as they stand in the file and only once they do. The file is the
// log; a place that is away too long misses records, which its `seq` shows and a counter counts.

import type { Clock, Timer } from '../clock.ts'

/** Takes whole lines, each with its newline, in order; rejects when it could not take them. */
export interface CopyPlace {
  readonly name: string
  send(lines: Buffer): Promise<void>
  close?(): Promise<void>
}

export interface CopyOptions {
  clock: Clock
  /** Bytes that wait for one place at most; older ones are given up. */
  maxWaiting: number
  sent(place: string, records: number): void
  lost(place: string, records: number): void
  failed(place: string, error: Error): void
}

const RETRY_MS = 1000
const FAREWELL_MS = 3000

interface Waiting {
  lines: Buffer
  records: number
}

export class RecordCopy {
  readonly #place: CopyPlace
  readonly #options: CopyOptions
  readonly #queue: Waiting[] = []
  #bytes = 0
  #running: Promise<void> | undefined
  /** Set while a place that failed is given time. */
  #pause: Timer | undefined
  #closed = false

  constructor(place: CopyPlace, options: CopyOptions) {
    this.#place = place
    this.#options = options
  }

  /** @param lines are copied: they are good during the call only */
  push(records: number, lines: Buffer): void {
    this.#queue.push({ lines: Buffer.from(lines), records })
    this.#bytes += lines.length
    // The first one may be on its way.
    while (this.#bytes > this.#options.maxWaiting && this.#queue.length > 1) {
      const [given] = this.#queue.splice(this.#running === undefined ? 0 : 1, 1)
      this.#bytes -= given!.lines.length
      this.#options.lost(this.#place.name, given!.records)
    }
    this.#start()
  }

  /** Waits for what is left, but not for ever. */
  async close(): Promise<void> {
    this.#closed = true
    this.#pause?.cancel()
    this.#pause = undefined
    if (this.#queue.length > 0) this.#start()
    const deadline = Promise.withResolvers<void>()
    const timer = this.#options.clock.after(FAREWELL_MS, deadline.resolve)
    await Promise.race([this.#running, deadline.promise])
    timer.cancel()
    const left = this.#queue.reduce((sum, { records }) => sum + records, 0)
    if (left > 0) this.#options.lost(this.#place.name, left)
    await this.#place.close?.()
  }

  #start(): void {
    if (this.#pause !== undefined) return
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      if (this.#queue.length === 0 || this.#closed) return
      this.#pause = this.#options.clock.after(RETRY_MS, () => {
        this.#pause = undefined
        this.#start()
      })
    })
  }

  async #run(): Promise<void> {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      try {
        await this.#place.send(next.lines)
      } catch (error) {
        this.#options.failed(this.#place.name, error as Error)
        return
      }
      this.#queue.shift()
      this.#bytes -= next.lines.length
      this.#options.sent(this.#place.name, next.records)
    }
  }
}
