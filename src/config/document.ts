// A YAML or JSON text as plain values, with the line of every key. YAML 1.2: JSON is a part of it, and `off` and `yes`
// are text. Two equal keys are a problem, not a choice.
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'

export type Path = readonly (string | number)[]

export interface SourceError {
  line: number
  message: string
}

export interface SourceText {
  /** Plain objects, arrays and scalars; undefined when the text could not be read. */
  value: unknown
  errors: readonly SourceError[]
  /** Line of the key at `path`, or of the nearest one above it that the text has. */
  lineOf(path: Path): number
}

export function readSource(text: string): SourceText {
  const lines = new LineCounter()
  // With `prettyErrors` a message would quote the line, which may hold a password.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'silent' })
  const errors = document.errors.map((error) => ({
    line: lines.linePos(error.pos[0]).line,
    message: sentence(error.code, error.message),
  }))
  // One slip makes the reader stumble on: what follows on its line is noise.
  const first = errors.filter((error, i) => errors.findIndex((other) => other.line === error.line) === i)
  const lineOf = (path: Path): number => lines.linePos(offsetOf(document, path)).line
  const fatal = document.errors.some((error) => error.code !== 'DUPLICATE_KEY')
  if (fatal) return { value: undefined, errors: first, lineOf }
  try {
    // `maxAliasCount` bounds what aliases of aliases expand to.
    return { value: document.toJS({ maxAliasCount: 100 }), errors: first, lineOf }
  } catch {
    const message =
      'An alias (`*name`) has no anchor (`&name`) before it, or the aliases expand without measure.'
    return { value: undefined, errors: [...first, { line: 1, message }], lineOf }
  }
}

function sentence(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'This key is here for the second time: keep one of them.'
  if (code === 'TAB_AS_INDENT') return 'Indent with blanks, not with tabs.'
  if (code === 'MULTIPLE_DOCS') return 'Write one document: remove everything from the second `---` on.'
  return `Not valid YAML: ${message.split('\n', 1)[0]!.replace(/\.$/, '')}. Put a value that starts with \`[\`, \`{\`, \`*\`, \`&\`, \`@\` or holds \`: \` in quotes.`
}

function offsetOf(document: Document.Parsed, path: Path): number {
  let node: Node | null | undefined = document.contents
  let offset = node?.range?.[0] ?? 0
  for (const segment of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(segment))
      if (pair === undefined) break
      offset = (pair.key as Node).range?.[0] ?? offset
      node = pair.value as Node | null
    } else if (isSeq(node)) {
      const item = node.items[Number(segment)] as Node | undefined
      if (item === undefined) break
      offset = item.range?.[0] ?? offset
      node = item
    } else break
  }
  return offset
}
