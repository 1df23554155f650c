// Random choices that a seed repeats: mulberry32.

export class Random {
  readonly seed: number
  #state: number

  constructor(seed: number) {
    this.seed = seed >>> 0
    this.#state = this.seed
  }

  /** From 0 to `below` - 1. */
  under(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.under(choices.length)]!
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.under(256)))
  }

  /** Some bits, bytes or stretches of it otherwise. */
  mutate(bytes: Buffer): Buffer {
    let changed = Buffer.from(bytes)
    for (let edits = this.under(4); edits > 0; edits--) {
      const at = this.under(changed.length + 1)
      const end = Math.min(changed.length, at + this.under(6))
      const [before, there, after] = [
        changed.subarray(0, at),
        changed.subarray(at, end),
        changed.subarray(end),
      ]
      const put = this.of([
        () => Buffer.alloc(0),
        () => this.bytes(this.under(4)),
        () => Buffer.concat([there, there]),
        () => Buffer.from(there.map((byte) => byte ^ (1 << this.under(8)))),
      ])()
      changed = Buffer.concat([before, put, after])
    }
    return changed
  }
}
