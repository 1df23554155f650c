// The oracle for src/policy/topic-filter.ts: strings, split at `/`, one level at a time, after the words of
// MQTT 5.0 §4.7. Slow and plain on purpose; never imported by src.

/** Whether `filter` matches the Topic Name `name`. */
export function naiveMatches(filter: string, name: string): boolean {
  const f = filter.split('/')
  const n = name.split('/')
  if (name.startsWith('$') && (f[0] === '+' || f[0] === '#')) return false
  return matchLevels(f, n)
}

function matchLevels(f: readonly string[], n: readonly string[]): boolean {
  if (f[0] === '#') return true
  if (f.length === 0 || n.length === 0) return f.length === n.length
  if (f[0] !== '+' && f[0] !== n[0]) return false
  return matchLevels(f.slice(1), n.slice(1))
}

/** Every sequence of one to `depth` of these levels, joined by `/`; the empty topic is none. */
export function topicsOver(levels: readonly string[], depth: number): string[] {
  let row: string[][] = [[]]
  const all: string[] = []
  for (let i = 0; i < depth; i++) {
    row = row.flatMap((head) => levels.map((level) => [...head, level]))
    all.push(...row.map((parts) => parts.join('/')))
  }
  return all.filter((topic) => topic !== '')
}

/** As `topicsOver`, without those where `#` is not last. */
export function filtersOver(levels: readonly string[], depth: number): string[] {
  return topicsOver(levels, depth).filter((topic) => {
    const hash = topic.indexOf('#')
    return hash < 0 || hash === topic.length - 1
  })
}
