// Short records and their models: a record with `as` is as the record of that `seq`, but for the members that it has
// itself. A model stands in the same file, and is one of the last 4096 there, so that a reader keeps no more. Pure;
// docs/audit-format.md.

import type { AuditRecord, WrittenRecord } from './record.ts'

/** Models of a file that can still be referred to. */
export const MODELS = 4096

/** What a reader keeps of the models of one file. */
export class ModelWindow<T> {
  readonly #kept = new Map<number, T>()

  add(seq: number, kept: T): void {
    this.#kept.set(seq, kept)
    if (this.#kept.size > MODELS) this.#kept.delete(this.#kept.keys().next().value!)
  }

  get(seq: number): T | undefined {
    return this.#kept.get(seq)
  }
}

/** Puts the records of one file together. */
export class Models {
  readonly #window = new ModelWindow<AuditRecord>()

  /** @returns undefined: a short record whose model was not seen */
  whole(record: WrittenRecord): AuditRecord | undefined {
    if (record.action !== undefined) {
      if (record.model) this.#window.add(record.seq, record)
      return record
    }
    const found = this.#window.get(record.as)
    if (found === undefined) return undefined
    const { model: _, packet_id: __, payload: ___, ...common } = found
    return { ...common, ...record, action: found.action }
  }
}
