// Topic Aliases of one direction. MQTT 5.0 §3.3.2.3.4.
// The table follows the sender, for dropped packets too; `relayed` says whether the receiver learned the same
// mapping. When it did not, the next use must carry the Topic Name (peers' published bypass H4).

export class TopicAliasTable {
  /** Highest alias the sender may use; 0 forbids aliases. */
  maximum = 0
  #names: (Buffer | undefined)[] = []
  #relayed: boolean[] = []

  /** Remembers a copy of the Topic Name. The receiver does not know it until `markRelayed`. */
  define(alias: number, source: Buffer, start: number, end: number): void {
    const known = this.#names[alias]
    if (known === undefined || known.compare(source, start, end) !== 0) {
      this.#names[alias] = Buffer.from(source.subarray(start, end))
    }
    this.#relayed[alias] = false
  }

  /** The Topic Name behind an alias, or undefined: the sender never defined it on this connection. */
  nameOf(alias: number): Buffer | undefined {
    return this.#names[alias]
  }

  isRelayed(alias: number): boolean {
    return this.#relayed[alias] === true
  }

  markRelayed(alias: number): void {
    this.#relayed[alias] = true
  }
}
