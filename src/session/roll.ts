// Who is here at the moment, where many come and go. Takes and removes in constant time; see revocation/live-index.ts for
// why it is no Set.

export interface Listed {
  /** Of this roll; below 0: in none. */
  place: number
}

export class Roll<T extends Listed> {
  readonly #all: T[] = []

  get size(): number {
    return this.#all.length
  }

  /** Of who is here now; whoever comes or goes later does not change it. */
  get all(): T[] {
    return [...this.#all]
  }

  add(one: T): void {
    one.place = this.#all.push(one) - 1
  }

  /** false: it was not here. */
  remove(one: T): boolean {
    const { place } = one
    if (place < 0) return false
    const last = this.#all.pop()!
    if (last !== one) {
      this.#all[place] = last
      last.place = place
    }
    one.place = -1
    return true
  }
}
