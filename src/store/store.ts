// What the replicas share: marks that keep identities out, what was done once, what was used up. A mark is joined by the
// server, so that whoever writes first or last makes no difference; each change goes to a stream that all replicas follow.
// Nothing is lost when a connection breaks: after it all marks are read anew, and those of ours that are missing written.

import type { Clock } from '../clock.ts'
import type { StoreConfig } from '../config/config.ts'
import { type Ask, Connection, storeError } from './connection.ts'

/** One mark as the replicas share it. Times are milliseconds since the epoch, 0 for none. */
export interface SharedMark {
  /** Equal for the same identity. */
  key: string
  /** Tokens issued until then are refused; the latest counts. */
  before: number
  /** When the order for `before` was given. */
  at: number
  disabled: boolean
  /** When `disabled` was set or taken back; the last word counts. */
  word: number
  /** What `key` stands for; the store does not read it. */
  body: string
}

/** Whoever holds the marks of this replica. */
export interface MarkHolder {
  /** Everything that is in the store. Answers with what of ours it has not got, and what nobody needs any more. */
  loaded(marks: readonly SharedMark[]): { missing: readonly SharedMark[]; useless: readonly SharedMark[] }
  /** One that has changed, here or elsewhere. */
  changed(mark: SharedMark): void
}

export interface StoreEvents {
  changed(up: boolean, why: string): void
  count(result: 'ok' | 'failed'): void
}

/** The server answers an idle reader this often, so that a dead connection is noticed. */
const BLOCK_MS = 1_000
const CHANGES_PER_READ = 1_000
/** Changes kept for readers that are behind; whoever misses one reads all marks. */
const CHANGES_KEPT = 10_000

/** KEYS marks, changes, sequence; ARGV key, before, at, disabled, word, body. The join of what is there and this. */
const JOIN = `
local before, at, disabled, word = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old then
  local b, a, d, w = string.match(old, '^(%d+) (%d+) ([01]) (%d+) ')
  if tonumber(b) > tonumber(before) then before, at = b, a end
  if tonumber(w) > tonumber(word) or (w == word and d == '1') then disabled, word = d, w end
end
local new = before .. ' ' .. at .. ' ' .. disabled .. ' ' .. word .. ' ' .. ARGV[6]
if new == old then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], new)
local n = redis.call('INCR', KEYS[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ${CHANGES_KEPT}, '*', 'n', n, 'key', ARGV[1], 'mark', new)
return 1`

/** Removes a mark unless it has changed. KEYS marks; ARGV key, value. */
const FORGET = `
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0`

/** Where the stream ends, and how many changes there were, in one instant. KEYS changes, sequence. */
const POSITION = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
return { last[1] and last[1][1] or '0-0', redis.call('GET', KEYS[2]) or '0' }`

/** Counts up to a limit. KEYS counter; ARGV limit, end in ms. */
const TAKE = `
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('INCR', KEYS[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return 1`

export class Store {
  readonly config: StoreConfig
  readonly #connection: Connection
  #holder: MarkHolder | undefined
  /** Of the stream. */
  #position = '0-0'
  #sequence = 0

  constructor(config: StoreConfig, clock: Clock, events: StoreEvents) {
    this.config = config
    this.#connection = new Connection(config, clock, {
      connected: (ask) => this.#load(ask),
      follow: (ask) => this.#follow(ask),
      changed: (up, why) => events.changed(up, why),
      count: (result) => events.count(result),
    })
  }

  /** true: what the other replicas have done until a moment ago is known here. */
  get isUp(): boolean {
    return this.#connection.isUp
  }

  /** Nobody may be let in. */
  get isBlocking(): boolean {
    return this.config.onFailure === 'deny' && !this.isUp
  }

  /** Resolves when everything is read, or the store cannot be reached; it is tried again by itself then. */
  start(holder: MarkHolder): Promise<void> {
    this.#holder = holder
    return this.#connection.start()
  }

  /** Joins a mark into the store. @throws PosternError `ERR_STORE` */
  async join(mark: SharedMark): Promise<void> {
    await this.#join((command) => this.#connection.ask(command), mark)
  }

  /** Remembers that something was done. @throws PosternError `ERR_STORE` */
  async remember(what: string, forMs: number): Promise<void> {
    await this.#connection.ask(['SET', this.#key(`done:${what}`), '1', 'PX', String(forMs)])
  }

  /** Whether any replica has done it. @throws PosternError `ERR_STORE` */
  async remembers(what: string): Promise<boolean> {
    return (await this.#connection.ask(['EXISTS', this.#key(`done:${what}`)])) === 1
  }

  /**
   * Takes one of `most` uses, whichever replica asks.
   *
   * @param untilMs when it may be forgotten, milliseconds since the epoch
   * @returns false when all are used up
   * @throws PosternError `ERR_STORE`
   */
  async take(what: string, most: number, untilMs: number): Promise<boolean> {
    const key = this.#key(`used:${what}`)
    const taken = await this.#connection.ask(script(TAKE, [key], [most, Math.ceil(untilMs)]))
    return taken === 1
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }

  #key(name: string): string {
    return `${this.config.prefix}${name}`
  }

  async #join(ask: Ask, mark: SharedMark): Promise<void> {
    const { key, before, at, disabled, word, body } = mark
    const keys = [this.#key('marks'), this.#key('changes'), this.#key('sequence')]
    await ask(script(JOIN, keys, [key, before, at, disabled ? 1 : 0, word, body]))
  }

  async #load(ask: Ask): Promise<void> {
    // Before the marks: what changes in between is then read twice, which does no harm.
    const keys = [this.#key('changes'), this.#key('sequence')]
    const [position, sequence] = (await ask(script(POSITION, keys, []))) as [string, string]
    const flat = (await ask(['HGETALL', this.#key('marks')])) as string[]
    const marks = flat.flatMap((key, i) => (i % 2 === 0 ? (markIn(key, flat[i + 1]!) ?? []) : []))
    this.#position = position
    this.#sequence = Number(sequence)
    const { missing, useless } = this.#holder!.loaded(marks)
    for (const mark of missing) await this.#join(ask, mark)
    for (const mark of useless) await ask(script(FORGET, [this.#key('marks')], [mark.key, textOf(mark)]))
  }

  async #follow(ask: Ask): Promise<void> {
    const command = ['XREAD', 'COUNT', String(CHANGES_PER_READ), 'BLOCK', String(BLOCK_MS)]
    const read = await ask(
      [...command, 'STREAMS', this.#key('changes'), this.#position],
      BLOCK_MS + this.config.timeout,
    )
    if (read === null) {
      // A server that has lost its data tells nobody.
      const sequence = Number((await ask(['GET', this.#key('sequence')])) ?? 0)
      if (sequence < this.#sequence) throw storeError('it has lost changes')
      return
    }
    const [[, entries]] = read as [[string, [string, string[]][]]]
    for (const [id, fields] of entries) {
      const [, n, , key, , value] = fields
      if (Number(n) !== this.#sequence + 1) throw storeError('changes are missing')
      this.#position = id
      this.#sequence += 1
      const mark = markIn(key!, value!)
      if (mark !== undefined) this.#holder!.changed(mark)
    }
  }
}

function script(text: string, keys: readonly string[], values: readonly (string | number)[]): string[] {
  return ['EVAL', text, String(keys.length), ...keys, ...values.map(String)]
}

function textOf({ before, at, disabled, word, body }: SharedMark): string {
  return `${before} ${at} ${disabled ? 1 : 0} ${word} ${body}`
}

/** undefined: not written by this version. */
function markIn(key: string, value: string): SharedMark | undefined {
  const parts = /^(\d+) (\d+) ([01]) (\d+) (.*)$/s.exec(value)
  if (parts === null) return undefined
  const [, before, at, disabled, word, body] = parts
  return {
    key,
    before: Number(before),
    at: Number(at),
    disabled: disabled === '1',
    word: Number(word),
    body: body!,
  }
}
