// `Did you mean …?` for an unknown name.

/** The known name that is most like `name`, when one is close enough to be a slip of the pen. */
export function suggest(name: string, known: readonly string[]): string | undefined {
  const plain = flatten(name)
  let best: string | undefined
  let least = Math.min(3, Math.max(1, Math.floor(plain.length / 3))) + 1
  for (const candidate of known) {
    const distance = editDistance(plain, flatten(candidate))
    if (distance < least) [best, least] = [candidate, distance]
  }
  return best
}

/** `connect_bytes`, `connect-bytes` and `connectBytes` are one name in three habits. */
function flatten(name: string): string {
  return name
    .slice(0, 64)
    .toLowerCase()
    .replace(/[-_. ]/g, '')
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
