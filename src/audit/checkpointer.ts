// Makes signed checkpoints of the log, after so many records, after some time, and at the end, and hands them to the
// places that keep them off the host (AUD-05). A place that fails gets the newest one again with the next.

import type { Clock, Timer } from '../clock.ts'
import type { MerkleTree } from './merkle.ts'
import type { ChainHead } from './record.ts'
import { checkpointText, type NoteSigner, signNote } from './signed-note.ts'

/** Takes a note; rejects when it could not. */
export interface CheckpointPlace {
  readonly name: string
  send(note: string): Promise<void>
}

/** What a checkpointer needs of the log. */
export interface CheckpointedLog {
  readonly head: ChainHead
  readonly tree: MerkleTree | undefined
  flush(): Promise<void>
}

export interface CheckpointerOptions {
  clock: Clock
  signer: NoteSigner
  /** Names the log; default: the name of the key. */
  originOf?: (signer: NoteSigner) => string
  /** A checkpoint after so many records, */
  records: number
  /** and after so many milliseconds, when there are new ones. */
  interval: number
  places: readonly CheckpointPlace[]
  sent(place: string): void
  failed(place: string, error: Error): void
}

/** How long the end waits for places that do not answer. */
const FAREWELL_MS = 5000

export class Checkpointer {
  readonly #log: CheckpointedLog
  readonly #options: CheckpointerOptions
  /** Place to the note it has not taken yet. */
  readonly #unsent = new Map<CheckpointPlace, string>()
  readonly #sending = new Map<CheckpointPlace, Promise<void>>()
  #signer: NoteSigner
  #size: number
  #making: Promise<void> | undefined
  #timer: Timer | undefined
  #closed = false

  /** @param size of the last checkpoint that was made of this log; 0 without one */
  constructor(log: CheckpointedLog, size: number, options: CheckpointerOptions) {
    this.#log = log
    this.#size = size
    this.#options = options
    this.#signer = options.signer
    this.#arm()
  }

  /** Records reached the disk. */
  written(): void {
    if (this.#log.head.seq - this.#size >= this.#options.records) void this.make()
  }

  /** Signs the following ones; the log must have said so. */
  useSigner(signer: NoteSigner): void {
    this.#signer = signer
  }

  /** Makes one now, if there are records since the last, and begins to send it. Never rejects. */
  make(): Promise<void> {
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined
    })
    return this.#making
  }

  /** Makes the last one and waits for the places, but not for ever. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.make()
    if (this.#unsent.size === 0) return
    const deadline = Promise.withResolvers<void>()
    const timer = this.#options.clock.after(FAREWELL_MS, deadline.resolve)
    await Promise.race([this.#sendAll(), deadline.promise])
    timer.cancel()
  }

  async #make(): Promise<void> {
    const tree = this.#log.tree!
    if (tree.size > this.#size) {
      const { size } = tree
      // Of the key that is in force now, whatever comes while the disk is waited for.
      const signer = this.#signer
      const origin = this.#options.originOf?.(signer) ?? signer.name
      const text = checkpointText({ origin, size, root: tree.root() })
      try {
        // Only what is on disk: a log must never sign what a crash takes back.
        await this.#log.flush()
      } catch {
        return // the log reports its failure itself
      }
      this.#size = size
      const note = signNote(text, signer)
      for (const place of this.#options.places) this.#unsent.set(place, note)
    }
    void this.#sendAll()
  }

  async #sendAll(): Promise<void> {
    await Promise.all([...this.#unsent.keys()].map((place) => this.#send(place)))
  }

  /** One at a time for each place; afterwards the newest, if there is a newer one. */
  #send(place: CheckpointPlace): Promise<void> {
    const running = this.#sending.get(place)
    if (running !== undefined) return running
    const sending = this.#sendNewest(place).finally(() => this.#sending.delete(place))
    this.#sending.set(place, sending)
    return sending
  }

  async #sendNewest(place: CheckpointPlace): Promise<void> {
    for (let note = this.#unsent.get(place); note !== undefined; note = this.#unsent.get(place)) {
      try {
        await place.send(note)
      } catch (error) {
        this.#options.failed(place.name, error as Error)
        return
      }
      this.#options.sent(place.name)
      if (this.#unsent.get(place) === note) this.#unsent.delete(place)
    }
  }

  #arm(): void {
    if (this.#closed) return
    this.#timer = this.#options.clock.after(this.#options.interval, () => {
      void this.make()
      this.#arm()
    })
  }
}
