// Topic Aliases of one direction. MQTT 5.0 §3.3.2.3.4.
// The table follows the sender, for dropped packets too; `relayed` says whether the receiver learned the same
// mapping. When it did not, the next use must carry the Topic Name (peers' published bypass H4).

import type { PublishHead } from '../wire/heads.ts'
import type { SessionFault } from './outcome.ts'

const EMPTY = Buffer.alloc(0)
const NO_NAMES: (Buffer | undefined)[] = []
const NO_MARKS: boolean[] = []

export class TopicAliasTable {
  /** Highest alias the sender may use; 0 forbids aliases. */
  maximum = 0
  /** After a `resolve`: the Topic Name is `topic[start, end)`, whether the packet carries it or not. */
  topic: Buffer = EMPTY
  start = 0
  end = 0
  /** After a `resolve`: the receiver does not know the alias, and the packet does not carry the name. */
  nameMissing = false
  /** None of them is there before the first alias is: most connections use none. */
  #names = NO_NAMES
  #relayed = NO_MARKS

  /** Finds the Topic Name of a PUBLISH whose head was read from `source`. */
  resolve(head: PublishHead, source: Buffer): SessionFault | undefined {
    const alias = head.topicAlias
    this.topic = source
    this.start = head.topicStart
    this.end = head.topicEnd
    this.nameMissing = false
    if (alias === 0) return undefined
    if (alias > this.maximum) return 'topic_alias_above_maximum'
    if (head.topicEnd > head.topicStart) {
      this.define(alias, source, head.topicStart, head.topicEnd)
      return undefined
    }
    const name = this.nameOf(alias)
    if (name === undefined) return 'unknown_topic_alias'
    this.topic = name
    this.start = 0
    this.end = name.length
    this.nameMissing = !this.isRelayed(alias)
    return undefined
  }

  /** Remembers a copy of the Topic Name. The receiver does not know it until `markRelayed`. */
  define(alias: number, source: Buffer, start: number, end: number): void {
    if (this.#names === NO_NAMES) {
      this.#names = []
      this.#relayed = []
    }
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
