// The notation of frames in test/vectors: short enough to read, explicit enough to be wrong on purpose.
//
//   30           one byte, two hex digits
//   'text'       UTF-8 bytes of the text
//   s'text'      the same behind its two-byte length
//   [ ... ]      what is between, behind its length as a Variable Byte Integer
//   { ... }      what is between, behind its two-byte length
//   ( ... )      what is between
//   200* x       x, a single item of the above, two hundred times

const TOKEN = /\s*(?:(\d+)\*|([0-9a-f]{2})(?=\s|$)|(s?)'([^']*)'|([[{(\]})]))/y

/** @throws for text that is no frame */
export function parseFrame(text: string): Buffer {
  TOKEN.lastIndex = 0
  return parseItems(text.trimEnd(), '')
}

function parseItems(text: string, close: string): Buffer {
  const parts: Buffer[] = []
  for (;;) {
    if (TOKEN.lastIndex === text.length && close === '') return Buffer.concat(parts)
    const item = parseItem(text, close)
    if (item === undefined) return Buffer.concat(parts)
    parts.push(item)
  }
}

/** One item, or undefined at `close`. */
function parseItem(text: string, close: string): Buffer | undefined {
  const at = TOKEN.lastIndex
  const match = TOKEN.exec(text)
  if (match === null) throw new TypeError(`no frame notation at "${text.slice(at)}"`)
  const [, times, hex, sized, quoted, bracket] = match
  if (hex !== undefined) return Buffer.from(hex, 'hex')
  if (quoted !== undefined) return sized ? behindUint16(Buffer.from(quoted)) : Buffer.from(quoted)
  if (times !== undefined) {
    const item = parseItem(text, '')
    return Buffer.concat(Array.from({ length: Number(times) }, () => item ?? Buffer.alloc(0)))
  }
  if (bracket === '[') return behindVarint(parseItems(text, ']'))
  if (bracket === '(') return parseItems(text, ')')
  if (bracket === '{') return behindUint16(parseItems(text, '}'))
  if (bracket !== close) throw new TypeError(`unexpected ${bracket} in "${text}"`)
  return undefined
}

function behindUint16(content: Buffer): Buffer {
  return Buffer.concat([Buffer.of(content.length >> 8, content.length & 0xff), content])
}

function behindVarint(content: Buffer): Buffer {
  const length: number[] = []
  let rest = content.length
  do {
    length.push((rest % 128) | (rest > 127 ? 0x80 : 0))
    rest = Math.floor(rest / 128)
  } while (rest > 0)
  return Buffer.concat([Buffer.from(length), content])
}
