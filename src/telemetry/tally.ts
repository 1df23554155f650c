// Counters as slots of one typed array: `add` costs a few nanoseconds on the hot path. metrics.ts copies them
// into prom-client when somebody scrapes. Families and their label values are closed sets, declared at start.

export interface FamilySpec {
  /** Prometheus name with unit and, for a counter, `_total`. */
  name: string
  help: string
  kind: 'counter' | 'gauge'
  labelNames: readonly string[]
  /** Every label combination that can occur, in order; `[[]]` for a family without labels. */
  rows: readonly (readonly string[])[]
}

/** A declared family: row i counts in slot `first + i`. */
export interface Family extends FamilySpec {
  readonly first: number
}

export class Tally {
  #slots = new Float64Array(256)
  #used = 0
  readonly families: Family[] = []

  /** Declares a family; all its rows start at 0, so that a scrape shows them before the first event. */
  declare(spec: FamilySpec): Family {
    const family: Family = { ...spec, first: this.#used }
    this.#used += spec.rows.length
    if (this.#used > this.#slots.length) {
      const grown = new Float64Array(Math.max(this.#used, this.#slots.length * 2))
      grown.set(this.#slots)
      this.#slots = grown
    }
    this.families.push(family)
    return family
  }

  add(slot: number, by = 1): void {
    this.#slots[slot]! += by
  }

  set(slot: number, value: number): void {
    this.#slots[slot] = value
  }

  get(slot: number): number {
    return this.#slots[slot]!
  }
}

/** The slot of one label combination; throws for a combination that was not declared (our mistake, at start). */
export function slotOf(family: Family, ...labels: string[]): number {
  const row = family.rows.findIndex((r) => r.length === labels.length && r.every((v, i) => v === labels[i]))
  if (row < 0) throw new TypeError(`${family.name} has no row ${labels.join(', ')}`)
  return family.first + row
}
