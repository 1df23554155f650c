// Fills the placeholders of a rule with the subject's verified values: one grant for each topic and combination of
// values. What cannot bind narrows: an allow gives nothing, a deny applies to any value. ACL-02, peers.md A1, A2.
import { Grant } from './layer.ts'
import type { Rule } from './rule.ts'
import type { Subject } from './subject.ts'
import { type Assignment, fillGroup, fillTemplate, isBindable, type Template } from './template.ts'
import { compileFilter, type TopicFilter } from './topic-filter.ts'

/** Filters that one rule may become; array claims multiply. */
export const MAX_FILTERS_PER_RULE = 256

const ANY_LEVEL = ['+']

/**
 * The grants of a rule with this subject's values, whoever the rule is for.
 *
 * @param problems gets a sentence for each placeholder that did not bind; never a claim value
 */
export function expandRule(rule: Rule, subject: Subject, problems: string[]): Grant[] {
  const candidates = valuesOf(rule, subject, problems)
  if (candidates === undefined) return []
  const count = countFilters(rule, candidates)
  if (count > MAX_FILTERS_PER_RULE) {
    problems.push(
      `rule ${rule.id}: its array claims make ${count} filters, more than ${MAX_FILTERS_PER_RULE}: ${
        rule.effect === 'allow' ? 'the rule does not apply' : 'it applies to any value'
      }`,
    )
    if (rule.effect === 'allow') return []
    for (const [name, values] of candidates) if (values.length > 1) candidates.set(name, ANY_LEVEL)
  }
  const grants: Grant[] = []
  for (const topic of rule.topics) {
    for (const assignment of assignments(namesOf(rule, topic), candidates)) {
      const grant = makeGrant(rule, topic, assignment)
      if (typeof grant === 'string') problems.push(`rule ${rule.id}: ${grant}`)
      else grants.push(grant)
    }
  }
  return grants
}

/** Every attribute that fills a placeholder of the rule. */
export function attributesOf(rule: Rule): string[] {
  return [...new Set(rule.topics.flatMap((topic) => namesOf(rule, topic)))]
}

/** The same value stands for a name in the topic, the share groups and the response filter of one grant. */
function namesOf(rule: Rule, topic: Template): string[] {
  const groups = rule.shareGroups === 'any' ? [] : rule.shareGroups
  const names = [
    ...topic.names,
    ...groups.flatMap((group) => group.name ?? []),
    ...(rule.responseFilter?.names ?? []),
  ]
  return [...new Set(names)]
}

function valuesOf(
  rule: Rule,
  subject: Subject,
  problems: string[],
): Map<string, readonly string[]> | undefined {
  const candidates = new Map<string, readonly string[]>()
  for (const name of attributesOf(rule)) {
    const values = subject.attributes.get(name) ?? []
    const usable = [...new Set(values.filter(isBindable))]
    if (values.some((value) => !isBindable(value))) {
      problems.push(`rule ${rule.id}: a value of ${name} cannot stand for one topic level`)
    }
    if (rule.effect === 'deny' && (values.length === 0 || !values.every(isBindable))) {
      problems.push(`rule ${rule.id}: without a value of ${name} it denies for any value`)
      candidates.set(name, ANY_LEVEL)
    } else if (usable.length === 0) return undefined
    else candidates.set(name, usable)
  }
  return candidates
}

function countFilters(rule: Rule, candidates: ReadonlyMap<string, readonly string[]>): number {
  let count = 0
  for (const topic of rule.topics) {
    count += namesOf(rule, topic).reduce((product, name) => product * (candidates.get(name)?.length ?? 0), 1)
  }
  return count
}

function assignments(
  names: readonly string[],
  candidates: ReadonlyMap<string, readonly string[]>,
): Assignment[] {
  let rows: Map<string, string>[] = [new Map()]
  for (const name of names) {
    const values = candidates.get(name) ?? []
    rows = rows.flatMap((row) => values.map((value) => new Map(row).set(name, value)))
  }
  return rows
}

function makeGrant(rule: Rule, topic: Template, values: Assignment): Grant | string {
  const filter = fill(topic, values)
  const responseFilter = rule.responseFilter === undefined ? undefined : fill(rule.responseFilter, values)
  if (typeof filter === 'string') return filter
  if (typeof responseFilter === 'string') return responseFilter
  const groups = rule.shareGroups
  const names = groups === 'any' ? groups : groups.map((group) => Buffer.from(fillGroup(group, values) ?? ''))
  return new Grant(rule.id, filter, rule.limits, names, responseFilter)
}

function fill(template: Template, values: Assignment): TopicFilter | string {
  const text = fillTemplate(template, values)
  if (text === undefined) return 'a placeholder has no value'
  const [first] = template.levels
  // A deny for any value is for `$SYS` too: the value that could not bind may have been that. No value is `+` itself.
  const isAnyLevel = typeof first === 'object' && values.get(first.name) === ANY_LEVEL[0]
  return compileFilter(text, isAnyLevel)
}
