// JSON objects from tokens: what two parsers could read differently is refused. RFC 8259 §4, RFC 7515 §4, TOK-12.

/** Deeper objects and arrays are refused; a token of any known profile needs less than ten. */
const DEEPEST = 32

export type StrictJson =
  | { ok: true; members: ReadonlyMap<string, unknown> }
  | { ok: false; reason: 'malformed_token' | 'duplicate_claim' }

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads one JSON object. Refused: ill-formed UTF-8, a byte order mark, anything but an object, a member name twice in
 * any object at any level or one with a quote, a backslash or a control character, a string with a lone surrogate, more than 32 levels.
 *
 * @returns the top-level members as a Map, so that a name such as `__proto__` is data
 */
export function parseObject(bytes: Buffer): StrictJson {
  let text: string
  let value: unknown
  try {
    text = utf8.decode(bytes)
    value = JSON.parse(text)
  } catch {
    return { ok: false, reason: 'malformed_token' }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { ok: false, reason: 'malformed_token' }
  }
  const seen = inspect(text)
  if (typeof seen === 'string') return { ok: false, reason: seen }
  if (seen.plain !== undefined) value = JSON.parse(seen.plain)
  return { ok: true, members: new Map(Object.entries(value as object)) }
}

/** What has to be escaped in a string, and control characters. */
const ESCAPED = /["\\\p{Cc}]/u

/**
 * Looks at text that JSON.parse has accepted, so the grammar is known to hold: a string directly followed by `:` is a
 * member name, and every bracket has its partner.
 *
 * The V8 of Node.js 24 remembers the names of the object parsed before, and then takes a name that is written with an
 * escape for another one: after `{"sub":1,"\\":2}` it reads `{"sub":1,"\u0061ud":2}` with the name `\`. So such names
 * are written plainly; those that cannot be are in no token.
 *
 * @returns `plain`: the text to read in place of this one; undefined: this one
 */
function inspect(text: string): 'malformed_token' | 'duplicate_claim' | { plain: string | undefined } {
  const names: (Set<string> | undefined)[] = []
  let plain = ''
  let plainTo = 0
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '{':
        names.push(new Set())
        break
      case '[':
        names.push(undefined)
        break
      case '}':
      case ']':
        names.pop()
        break
      case '"': {
        const end = endOfString(text, i)
        const decoded = JSON.parse(text.slice(i, end)) as string
        if (!decoded.isWellFormed()) return 'malformed_token'
        const seen = names.at(-1)
        if (seen !== undefined && isName(text, end)) {
          if (seen.has(decoded)) return 'duplicate_claim'
          seen.add(decoded)
          if (ESCAPED.test(decoded)) return 'malformed_token'
          if (end - i !== decoded.length + 2) {
            plain += `${text.slice(plainTo, i)}"${decoded}"`
            plainTo = end
          }
        }
        i = end - 1
        break
      }
    }
    if (names.length > DEEPEST) return 'malformed_token'
  }
  return { plain: plainTo === 0 ? undefined : plain + text.slice(plainTo) }
}

/** Offset after the closing quote of the string that starts at `start`. */
function endOfString(text: string, start: number): number {
  let i = start + 1
  while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1
  return i + 1
}

function isName(text: string, afterString: number): boolean {
  let i = afterString
  while (text[i] === ' ' || text[i] === '\t' || text[i] === '\n' || text[i] === '\r') i++
  return text[i] === ':'
}
