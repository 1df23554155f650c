// Topic Filters compiled to bytes, and the three questions the PDP asks of them: does a filter match a Topic
// Name, does it contain another filter, do the two share a topic. Byte-exact; knows no rules and no `$share`.
// Hot path: `matches` runs for every rule and packet. MQTT 5.0 §4.7.

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23
const DOLLAR = 0x24

const MAX_BYTES = 65_535

/**
 * `#` contains exactly what `+/#` contains, and `/#` what `/+/#` does, for a Topic Name is never empty. With the
 * longer spelling the loops below need no exception for it.
 */
const ALL = Buffer.from('+/#')
const ALL_BELOW_EMPTY = Buffer.from('/+/#')
const CANONICAL: ReadonlyMap<string, Buffer> = new Map([
  ['#', ALL],
  ['/#', ALL_BELOW_EMPTY],
])

/** A checked filter. Made by `compileFilter` or `literalFilter` only. */
export class TopicFilter {
  readonly text: string
  readonly bytes: Buffer
  /** `+` and `#` are plain characters, and the filter stands for nothing but its own text. */
  readonly literal: boolean
  /** Holds no wildcard: matching is equality. */
  readonly exact: boolean
  /** The first level is a wildcard, which never reaches a `$`-topic. MQTT 5.0 §4.7.2 */
  readonly startsWild: boolean
  /** Bytes before the first wildcard that every matching name starts with (`/#` matches its parent level too). */
  readonly headLength: number
  /** Bytes after the last wildcard, that every matching name ends with. */
  readonly tailLength: number

  constructor(text: string, literal: boolean, reachesDollar = false) {
    this.text = text
    this.literal = literal
    this.exact = literal || !/[+#]/.test(text)
    this.startsWild = !literal && !reachesDollar && /^[+#]/.test(text)
    this.headLength = Buffer.byteLength(text.replace(/(\/?#|\+).*$/s, ''))
    this.tailLength = Buffer.byteLength(text.replace(/^.*[+#]/s, ''))
    const canonical = literal ? undefined : CANONICAL.get(text)
    this.bytes = canonical ?? Buffer.from(text)
  }
}

/**
 * @param reachesDollar whether a first level `+` stands for `$`-levels too, which no filter of a client does
 * @returns the filter, or a sentence that says why `text` is none. MQTT 5.0 §4.7.1, §1.5.4
 */
export function compileFilter(text: string, reachesDollar = false): TopicFilter | string {
  if (text === '') return 'a topic cannot be empty'
  if (!text.isWellFormed()) return 'a topic cannot hold half of a surrogate pair'
  if (Buffer.byteLength(text) > MAX_BYTES) return `a topic has at most ${MAX_BYTES} bytes`
  if (hasControlCharacter(text)) return 'a topic cannot hold a control character'
  const levels = text.split('/')
  for (const [index, level] of levels.entries()) {
    if (level.includes('#') && level !== '#') return '`#` must fill a whole level'
    if (level.includes('+') && level !== '+') return '`+` must fill a whole level'
    if (level === '#' && index < levels.length - 1) return '`#` must be the last level'
  }
  return new TopicFilter(text, false, reachesDollar)
}

/** A filter whose `+` and `#` mean themselves (EMQX `eq `). Any text will do: what is no filter equals none. */
export function literalFilter(text: string): TopicFilter {
  return new TopicFilter(text, true)
}

/** C0, DEL and C1: no topic may carry them. MQTT 5.0 §1.5.4 */
export function hasControlCharacter(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return true
  }
  return false
}

/** Whether `filter` matches the Topic Name in [start, end). */
export function matches(filter: TopicFilter, name: Buffer, start: number, end: number): boolean {
  const f = filter.bytes
  if (filter.exact) return equals(f, name, start, end)
  if (filter.startsWild && start < end && name[start] === DOLLAR) return false
  // Head and tail first, both from the back: topics of one deployment start alike, and end alike.
  const length = f.length
  const head = filter.headLength
  const tail = filter.tailLength
  if (end - start < head || end - start < tail) return false
  for (let i = length - 1, k = end - 1; i >= length - tail; i--, k--) if (f[i] !== name[k]) return false
  for (let i = head - 1, k = start + head - 1; i >= 0; i--, k--) if (f[i] !== name[k]) return false
  let j = start + head
  for (let i = head; i < length; i++) {
    const byte = f[i]!
    if (byte === PLUS) {
      while (j < end && name[j] !== SLASH) j++
    } else if (byte === HASH) {
      return true
    } else if (j === end) {
      // The name ends here: `/#` matches its parent level too.
      return byte === SLASH && i + 2 === length && f[i + 1] === HASH
    } else if (name[j++] !== byte) {
      return false
    }
  }
  return j === end
}

/**
 * Whether every Topic Name that the filter in [start, end) matches is matched by `outer`. The range must hold a
 * well-formed filter (`isTopicFilter`). A literal covers its own text only.
 */
export function covers(outer: TopicFilter, inner: Buffer, start: number, end: number): boolean {
  const o = outer.bytes
  if (outer.literal) return equals(o, inner, start, end)
  if (outer.startsWild && start < end && inner[start] === DOLLAR) return false
  if (isWhole(inner, start, end))
    return covers(outer, end - start === 1 ? ALL : ALL_BELOW_EMPTY, 0, end - start + 2)
  let i = 0
  let j = start
  for (;;) {
    const iEnd = levelEnd(o, i, o.length)
    if (iEnd === i + 1 && o[i] === HASH) return true
    if (j > end) return false
    const jEnd = levelEnd(inner, j, end)
    if (jEnd === j + 1 && inner[j] === HASH) return false
    if (!(iEnd === i + 1 && o[i] === PLUS) && !sameLevel(o, i, iEnd, inner, j, jEnd)) return false
    i = iEnd + 1
    j = jEnd + 1
    if (i > o.length) return j > end
  }
}

/** Whether some Topic Name matches both filters. The range as in `covers`. A literal overlaps its own text only. */
export function overlaps(filter: TopicFilter, other: Buffer, start: number, end: number): boolean {
  const f = filter.bytes
  if (filter.literal) return equals(f, other, start, end)
  if (start === end) return false
  if (filter.startsWild && other[start] === DOLLAR) return false
  if (f[0] === DOLLAR && (other[start] === PLUS || other[start] === HASH)) return false
  if (isWhole(other, start, end))
    return overlaps(filter, end - start === 1 ? ALL : ALL_BELOW_EMPTY, 0, end - start + 2)
  let i = 0
  let j = start
  for (;;) {
    const iDone = i > f.length
    const jDone = j > end
    if (iDone && jDone) return true
    const iEnd = iDone ? i : levelEnd(f, i, f.length)
    const jEnd = jDone ? j : levelEnd(other, j, end)
    if (iEnd === i + 1 && f[i] === HASH) return true
    if (jEnd === j + 1 && other[j] === HASH) return true
    if (iDone || jDone) return false
    const wild = (iEnd === i + 1 && f[i] === PLUS) || (jEnd === j + 1 && other[j] === PLUS)
    if (!wild && !sameLevel(f, i, iEnd, other, j, jEnd)) return false
    i = iEnd + 1
    j = jEnd + 1
  }
}

/** Whether the bytes are a Topic Filter by the wildcard rules of MQTT 5.0 §4.7.1; UTF-8 is the reader's matter. */
export function isTopicFilter(buf: Buffer, start: number, end: number): boolean {
  if (start >= end) return false
  for (let i = start; i < end; i++) {
    const byte = buf[i]
    if (byte !== PLUS && byte !== HASH) continue
    if (i > start && buf[i - 1] !== SLASH) return false
    if (i + 1 < end && (byte === HASH || buf[i + 1] !== SLASH)) return false
  }
  return true
}

/** Offset of the `/` that ends the level at `start`, or `end`. */
function levelEnd(buf: Buffer, start: number, end: number): number {
  let i = start
  while (i < end && buf[i] !== SLASH) i++
  return i
}

/** Byte equality, from the back: topics of one deployment share their first levels. */
export function equals(text: Buffer, buf: Buffer, start: number, end: number): boolean {
  let i = text.length
  if (end - start !== i) return false
  for (let j = end - 1; --i >= 0; j--) if (text[i] !== buf[j]) return false
  return true
}

function isWhole(buf: Buffer, start: number, end: number): boolean {
  if (buf[end - 1] !== HASH) return false
  return end - start === 1 || (end - start === 2 && buf[start] === SLASH)
}

function sameLevel(
  a: Buffer,
  aStart: number,
  aEnd: number,
  b: Buffer,
  bStart: number,
  bEnd: number,
): boolean {
  if (aEnd - aStart !== bEnd - bStart) return false
  for (let i = aStart, j = bStart; i < aEnd; i++, j++) if (a[i] !== b[j]) return false
  return true
}
