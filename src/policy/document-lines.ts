// YAML (and so JSON) text to plain values, and the line on which each of them stands. Duplicate keys, unknown tags
// and keys that JavaScript gives a meaning of its own are problems. The only file of the policy with `yaml`.
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml'
import type { Problem } from '../errors.ts'

export type Path = readonly (string | number)[]

/** 1-based line of a key or list item; of the nearest one above it that exists, else 1. */
export type LineOf = (path: Path) => number

export function readYaml(
  text: string,
  file: string,
): { value: unknown; lineOf: LineOf } | { problems: Problem[] } {
  const counter = new LineCounter()
  const parsed = parseDocument(text, { lineCounter: counter, prettyErrors: false })
  const lineAt = (offset: number) => Math.max(1, counter.linePos(offset).line)
  const problems: Problem[] = [...parsed.errors, ...parsed.warnings].map((error) => ({
    file,
    line: lineAt(error.pos[0]),
    path: '',
    message:
      error.code === 'DUPLICATE_KEY'
        ? 'The key is given twice: keep one.'
        : `Not readable as YAML or JSON: ${error.message}.`,
  }))
  visit(parsed, {
    Pair(_, { key }) {
      if (!isScalar(key) || key.value !== '__proto__') return
      problems.push({
        file,
        line: lineAt(key.range?.[0] ?? 0),
        path: '',
        message: '`__proto__` cannot be a key: remove it.',
      })
    },
  })
  if (problems.length > 0) return { problems }

  const lineOf: LineOf = (path) => {
    let node: unknown = parsed.contents
    let offset = 0
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(parsed)
      if (isMap(node)) {
        const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === step)
        if (pair === undefined) break
        offset = (isScalar(pair.key) ? pair.key.range?.[0] : undefined) ?? offset
        node = pair.value
      } else if (isSeq(node) && typeof step === 'number') {
        node = node.items[step]
        offset = rangeStart(node) ?? offset
      } else break
    }
    return lineAt(offset)
  }
  try {
    return { value: parsed.toJS() as unknown, lineOf }
  } catch (error) {
    // Aliases that name nothing, or that multiply beyond measure.
    const reason = error instanceof Error ? error.message : 'unknown'
    return { problems: [{ file, path: '', message: `Not readable as YAML or JSON: ${reason}.` }] }
  }
}

function rangeStart(node: unknown): number | undefined {
  return isMap(node) || isSeq(node) || isScalar(node) || isAlias(node) ? node.range?.[0] : undefined
}
