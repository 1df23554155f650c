// Topic templates: Topic Filters in which `{name}` stands for one whole level, filled at CONNECT from the verified
// claims. A value is data, never syntax: what cannot be exactly one level does not bind. MQTT 5.0 §4.7, ACL-02.
import { compileFilter, hasControlCharacter } from './topic-filter.ts'

/** A checked template; `levels` holds the literal text, or the name of the attribute that fills the level. */
export interface Template {
  readonly text: string
  readonly levels: readonly (string | Placeholder)[]
  /** Attributes used, each once. */
  readonly names: readonly string[]
}

export interface Placeholder {
  readonly name: string
}

/** The name of a share group; `{name}` may stand once, with literal text around it. */
export interface GroupTemplate {
  readonly text: string
  readonly before: string
  readonly name: string | undefined
  readonly after: string
}

/** One value for each attribute. */
export type Assignment = ReadonlyMap<string, string>

/** Attributes that every principal may have; rules use them without declaring them. */
export const BUILT_IN_ATTRIBUTES = ['agent_id', 'user_id', 'org_id', 'client_id'] as const

const PLACEHOLDER = /^\{([^{}]*)\}$/

/**
 * Whether a claim value may fill a level: exactly one level, byte for byte itself, and never a `$`-level.
 * Ill-formed UTF-16 is refused too, for two such values would become the same bytes.
 */
export function isBindable(value: string): boolean {
  return (
    value !== '' &&
    !/[/+#]/.test(value) &&
    !value.startsWith('$') &&
    !hasControlCharacter(value) &&
    value.isWellFormed()
  )
}

/** @returns the template, or a sentence that says what to write instead. */
export function parseTemplate(text: string, known: ReadonlySet<string>): Template | string {
  if (text === '$share' || text.startsWith('$share/')) {
    return `\`${text}\` names a shared subscription: write the filter behind \`$share/{group}/\` and list the group in \`shareGroups\``
  }
  const levels: (string | Placeholder)[] = []
  for (const level of text.split('/')) {
    if (!/[{}]/.test(level)) {
      levels.push(level)
      continue
    }
    const name = PLACEHOLDER.exec(level)?.[1]
    if (name === undefined) {
      return `the level \`${level}\` mixes a placeholder with other text: a placeholder fills a whole level, write \`{name}\` alone and let an attribute hold the whole level`
    }
    const problem = nameProblem(name, known)
    if (problem !== undefined) return problem
    levels.push({ name })
  }
  const shape = compileFilter(levels.map((level) => (typeof level === 'string' ? level : 'x')).join('/'))
  if (typeof shape === 'string') return `\`${text}\` is no Topic Filter: ${shape}`
  const names = levels.flatMap((level) => (typeof level === 'string' ? [] : [level.name]))
  return { text, levels, names: [...new Set(names)] }
}

/** @returns the group, or a sentence that says what to write instead. MQTT 5.0 §4.8.2 */
export function parseGroup(text: string, known: ReadonlySet<string>): GroupTemplate | string {
  if (text === '' || /[/+#]/.test(text) || hasControlCharacter(text) || !text.isWellFormed()) {
    return `\`${text}\` is no share group: a group name is not empty and has no \`/\`, \`+\`, \`#\` or control character; for every group write \`shareGroups: any\``
  }
  const parts = /^([^{}]*)(?:\{([^{}]*)\}([^{}]*))?$/.exec(text)
  if (parts === null) return `the share group \`${text}\` may hold one \`{name}\` at most`
  const name = parts[2]
  const problem = name === undefined ? undefined : nameProblem(name, known)
  return problem ?? { text, before: parts[1] ?? '', name, after: parts[3] ?? '' }
}

/** The template's text with its placeholders filled; undefined while one has no value. */
export function fillTemplate(template: Template, values: Assignment): string | undefined {
  const levels = template.levels.map((level) => (typeof level === 'string' ? level : values.get(level.name)))
  return levels.includes(undefined) ? undefined : levels.join('/')
}

export function fillGroup(group: GroupTemplate, values: Assignment): string | undefined {
  if (group.name === undefined) return group.before
  const value = values.get(group.name)
  return value === undefined ? undefined : group.before + value + group.after
}

function nameProblem(name: string, known: ReadonlySet<string>): string | undefined {
  if (known.has(name)) return undefined
  const list = [...known].map((each) => `{${each}}`).join(', ')
  if (name === '$self') return 'only rules with a `binding` may say `{$self}`: write `{agent_id}` here'
  if (name === '') return `\`{}\` names no attribute: write one of ${list}`
  return `\`{${name}}\` is no known attribute: write one of ${list}, or add \`${name}\` to the list \`attributes\``
}
