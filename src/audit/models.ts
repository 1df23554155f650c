// Batches and their models: an entry with `as` is as the record of that `seq`, but for what the entry and its line have
// themselves. A model stands in the same file, and is one of the last 4096 there, so that a reader keeps no more. Pure;
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

/** Entries of a line that are not among the records that it was read as: their model was not seen. */
export function missingFrom(records: readonly AuditRecord[], line: WrittenRecord): number {
  return line.action === undefined ? line.batch.length - records.length : 0
}

/** Puts the records of one file together. */
export class Models {
  readonly #window = new ModelWindow<AuditRecord>()

  /**
   * What a line says, whole: one record, or of a batch one for each entry, in order.
   *
   * @returns without the entries whose model was not seen
   */
  records(line: WrittenRecord): AuditRecord[] {
    if (line.action !== undefined) {
      if (line.model) this.#window.add(line.seq, line)
      return [line]
    }
    const { batch, ...linked } = line
    return batch.flatMap(({ as, packet_id, ...payload }, i): AuditRecord[] => {
      const found = this.#window.get(as)
      if (found === undefined) return []
      const { model: _, packet_id: __, payload: ___, ...common } = found
      const id = packet_id === undefined ? {} : { packet_id }
      return [{ ...common, ...linked, ...id, payload, as, entry: i + 1, action: found.action }]
    })
  }
}
