// Loads a policy file: YAML or JSON, our own form or an MQTT.Agent document. Reports every problem at once, with
// its line, and never returns half a policy. Only document*.ts of the policy know yaml and zod. design.md 5.
import { z } from 'zod'
import type { Problem } from '../errors.ts'
import { readAgentRule } from './agent-form.ts'
import { attributesOf } from './bind.ts'
import { type LineOf, type Path, readYaml } from './document-lines.ts'
import * as shape from './document-schema.ts'
import { Policy } from './policy.ts'
import type { Pair, Rule, RuleSet } from './rule.ts'
import { type RawRule, readRule } from './rule-reader.ts'
import { BUILT_IN_ATTRIBUTES } from './template.ts'

export { policyJsonSchema } from './document-schema.ts'

/** Keys that only MQTT.Agent documents have. */
const AGENT_DOCUMENT_KEYS = ['global', 'rules', 'default', 'publishers']

const VERSION_DIGITS = 16

/**
 * @param file only named in problems
 * @param digest hex SHA-256 of a text; its first 16 digits become the version of the policy
 * @returns the policy, or every problem of the file. An empty file is a policy that denies everything.
 */
export function loadPolicy(
  text: string,
  file: string,
  digest: (text: string) => string,
): { policy: Policy } | { problems: Problem[] } {
  const source = readYaml(text, file)
  if ('problems' in source) return source
  const reader = new DocumentReader(file, source.lineOf)
  const rules = reader.read(source.value)
  if (reader.problems.length > 0) {
    return { problems: reader.problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0)) }
  }
  return { policy: new Policy(digest(canonical(rules)).slice(0, VERSION_DIGITS), rules) }
}

class DocumentReader {
  readonly problems: Problem[] = []
  readonly #file: string
  readonly #lineOf: LineOf
  #known: ReadonlySet<string> = new Set(BUILT_IN_ATTRIBUTES)
  #ids = new Set<string>()

  constructor(file: string, lineOf: LineOf) {
    this.#file = file
    this.#lineOf = lineOf
  }

  read(value: unknown): RuleSet {
    if (value === null || value === undefined) return this.#agentRules([])
    if (Array.isArray(value)) return this.#agentRules(this.#agentItems(value, [], 'rule'))
    if (hasKey(value, 'action')) return this.#agentRules([this.#agentItem(value, [], 'rule-1')])
    if (AGENT_DOCUMENT_KEYS.some((key) => hasKey(value, key))) return this.#agentDocument(value)
    return this.#document(value)
  }

  #document(value: unknown): RuleSet {
    const outline = this.#outline(shape.documentOutline, value)
    // Without the names that it declares, every rule that uses one would look wrong.
    if (outline.attributes === undefined && hasKey(value, 'attributes')) return this.#agentRules([])
    const attributes = outline.attributes ?? []
    for (const [i, name] of attributes.entries()) {
      if (this.#known.has(name)) this.#report(['attributes', i], `\`${name}\` is always known: remove it`)
    }
    this.#known = new Set([...this.#known, ...attributes])
    const pairs = outline.pairs?.map((item, i) => this.#pair(item, ['pairs', i]))
    if (pairs?.every((pair) => pair?.effect === 'deny')) {
      this.#report(['pairs'], 'only denies, so that no pair may act: add `- { id: others, allow: {} }`')
    }
    return {
      attributes,
      tenant: outline.tenant && this.#tenant(outline.tenant.topics),
      agents: compact(outline.agents?.map((item, i) => this.#agentLayerItem(item, i))),
      users: compact(outline.users?.map((item, i) => this.#rule(item, 'user', ['users', i]))),
      pairs: pairs && compact(pairs),
      shadow: shadowLayers(outline?.mode),
    }
  }

  #agentDocument(value: unknown): RuleSet {
    if (hasKey(value, 'publishers')) {
      this.#report(
        ['publishers'],
        '`publishers` lists service accounts, which Postern does not have: give them tokens and rules, and remove the key',
      )
    }
    const known = Object.entries(value as object).filter(([key]) => key !== 'publishers')
    const outline = this.#outline(shape.agentOutline, Object.fromEntries(known))
    return this.#agentRules([
      ...this.#agentItems(outline.global ?? [], ['global'], 'global'),
      ...this.#agentItems(outline.rules ?? [], ['rules'], 'rule'),
    ])
  }

  #agentItems(items: readonly unknown[], at: Path, prefix: string): (Rule | undefined)[] {
    return items.map((item, i) => this.#agentItem(item, [...at, i], `${prefix}-${i + 1}`))
  }

  #agentRules(items: readonly (Rule | undefined)[]): RuleSet {
    const agents = compact(items)
    const names = agents.flatMap((rule) => [
      ...attributesOf(rule),
      ...rule.selector.when.keys(),
      ...rule.selector.requires,
    ])
    const attributes = [...new Set(names)].filter((name) => !this.#known.has(name))
    return { attributes, tenant: undefined, agents, users: [], pairs: undefined }
  }

  #agentLayerItem(item: unknown, index: number): Rule | undefined {
    const path = ['agents', index]
    return hasKey(item, 'action')
      ? this.#agentItem(item, path, `rule-${index + 1}`)
      : this.#rule(item, 'agent', path)
  }

  #agentItem(item: unknown, path: Path, id: string): Rule | undefined {
    const raw = this.#check(shape.agentRule, item, path)
    if (raw === undefined) return undefined
    return this.#unique(readAgentRule(raw, id, this.#context(path, raw.id ?? id)), path)
  }

  #rule(item: unknown, layer: 'agent' | 'user', path: Path): Rule | undefined {
    const raw = this.#check(shape.rule, item, path)
    if (raw === undefined) return undefined
    const context = { ...this.#context(path, raw.id), layer, retain: 'forbidden' as const, requires: [] }
    return this.#unique(readRule(raw, context), path)
  }

  #tenant(topics: string[]): Rule {
    const raw: RawRule = { id: 'tenant', allow: 'publish+subscribe', topics, shareGroups: 'any' }
    const context = this.#context(['tenant'], 'tenant')
    return readRule(raw, { ...context, layer: 'tenant', retain: 'allowed', requires: [] })
  }

  #pair(item: unknown, path: Path): Pair | undefined {
    const raw = this.#check(shape.pair, item, path)
    if (raw === undefined) return undefined
    const parties = raw.allow ?? raw.deny
    if (parties === undefined || (raw.allow !== undefined && raw.deny !== undefined)) {
      this.#report(path, 'must have `allow` or `deny`, not both', raw.id)
    }
    const effect = raw.allow === undefined ? 'deny' : 'allow'
    const users = parties?.users && new Set(parties.users)
    const agents = parties?.agents && new Set(parties.agents)
    return this.#unique<Pair>({ id: raw.id, line: this.#lineOf(path), effect, users, agents }, path)
  }

  #unique<T extends { id: string }>(rule: T, path: Path): T {
    if (this.#ids.has(rule.id))
      this.#report([...path, 'id'], 'the id is used twice: give each rule its own', rule.id)
    this.#ids.add(rule.id)
    return rule
  }

  #context(path: Path, id: string) {
    return {
      line: this.#lineOf(path),
      known: this.#known,
      report: (key: string, message: string) => this.#report([...path, ...stepsOf(key)], message, id),
    }
  }

  /** The document, or the parts in order of one that has problems, so that those of its rules are told of as well. */
  #outline<T extends z.ZodObject>(schema: T, value: unknown): Partial<z.infer<T>> {
    const checked = this.#check(schema, value, [])
    if (checked !== undefined) return checked
    const parts = Object.entries(schema.shape).flatMap(([key, part]) => {
      const read = hasKey(value, key) ? z.safeParse(part, (value as Record<string, unknown>)[key]) : undefined
      return read?.success ? [[key, read.data]] : []
    })
    return Object.fromEntries(parts)
  }

  #check<T extends z.ZodObject>(schema: T, value: unknown, path: Path): z.infer<T> | undefined {
    const checked = schema.safeParse(value)
    if (checked.success) return checked.data
    const id = hasKey(value, 'id') ? (value as { id: unknown }).id : undefined
    for (const issue of checked.error.issues) {
      const at = [...path, ...(issue.path as (string | number)[])]
      const name = typeof id === 'string' ? id : undefined
      if (issue.code !== 'unrecognized_keys') {
        this.#report(
          at,
          issue.path.length === 0 ? issue.message : `\`${issue.path.join('.')}\` ${issue.message}`,
          name,
        )
        continue
      }
      const allowed = issue.path.length === 0 ? `: the keys are ${Object.keys(schema.shape).join(', ')}` : ''
      for (const key of issue.keys) this.#report([...at, key], `\`${key}\` is no key here${allowed}`, name)
    }
    return undefined
  }

  #report(path: Path, message: string, rule?: string): void {
    const dotted = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('')
    const sentence = rule === undefined ? message : `Rule ${rule}: ${message}`
    this.problems.push({
      file: this.#file,
      line: this.#lineOf(path),
      path: dotted.replace(/^\./, ''),
      message: `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}.`,
    })
  }
}

/** The document's names of rule sets, with the names of the layers that they become. */
const LAYER_OF = { tenant: 'tenant', agents: 'agent', users: 'user', pairs: 'pair' } as const

function shadowLayers(mode: string | Partial<Record<keyof typeof LAYER_OF, string | undefined>> | undefined) {
  const sets = Object.keys(LAYER_OF) as (keyof typeof LAYER_OF)[]
  const inShadow = sets.filter((set) => (typeof mode === 'object' ? mode[set] : mode) === 'shadow')
  return inShadow.length === 0 ? undefined : new Set(inShadow.map((set) => LAYER_OF[set]))
}

/** The rules without lines, in a form that equal rules always have. */
function canonical(rules: RuleSet): string {
  return JSON.stringify(rules, (key, value: unknown) => {
    if (key === 'line') return undefined
    if (value instanceof Set) return [...value].sort()
    if (value instanceof Map) return [...value].sort(([a], [b]) => (a < b ? -1 : 1))
    return value
  })
}

/** `topics[1]` to ['topics', 1]; `when.team` to ['when', 'team']. */
function stepsOf(key: string): (string | number)[] {
  return key.split(/[.[\]]+/).flatMap((step) => (step === '' ? [] : /^\d+$/.test(step) ? Number(step) : step))
}

function hasKey(value: unknown, key: string): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
}

function compact<T>(items: readonly (T | undefined)[] | undefined): T[] {
  return (items ?? []).filter((item) => item !== undefined)
}
