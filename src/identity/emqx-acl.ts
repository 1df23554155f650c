// The `acl` claim of EMQX: a list of rules of which the first match decides, or the older lists of topics.
// A rule that cannot be read: an allow is left out, a deny makes the token unusable. ACL-15.

import type { Ceiling, CeilingRule } from '../policy/subject.ts'
import { isIdentity, isTopicFilter, isTopicLevel } from './identifier.ts'

// biome-ignore lint/suspicious/noTemplateCurlyInString: EMQX writes its placeholders so
const CLIENT_ID = '${clientid}'
const LITERAL_PREFIX = 'eq '
const MEMBERS = new Set(['permission', 'action', 'topic', 'qos', 'retain'])
const OLD_FORM: readonly (readonly [member: string, publish: boolean, subscribe: boolean])[] = [
  ['pub', true, false],
  ['sub', false, true],
  ['all', true, true],
]

/** @returns undefined when a deny rule, or a rule that may be one, cannot be read */
export function readAcl(claim: unknown): Ceiling | undefined {
  if (Array.isArray(claim)) {
    const rules: CeilingRule[] = []
    for (const entry of claim as unknown[]) {
      const members = membersOf(entry)
      const rule = readRule(members)
      if (rule !== undefined) rules.push(rule)
      else if (members.get('permission') !== 'allow') return undefined
    }
    return { format: 'acl', firstMatch: true, rules }
  }
  const members = membersOf(claim)
  const rules = OLD_FORM.flatMap(([name, publish, subscribe]) => {
    const topics = members.get(name)
    const list: unknown[] = Array.isArray(topics) ? topics : []
    return list.flatMap((topic) => {
      const filter = readTopic(topic)
      return filter === undefined ? [] : [{ effect: 'allow' as const, publish, subscribe, ...filter }]
    })
  })
  return { format: 'acl', firstMatch: false, rules }
}

/** Replaces `${clientid}`; undefined when a rule has it and `clientId` is not one topic level (CVE-2017-7650). */
export function bindAcl(rules: readonly CeilingRule[], clientId: string): readonly CeilingRule[] | undefined {
  if (!rules.some((rule) => rule.filter.includes(CLIENT_ID))) return rules
  if (!isTopicLevel(clientId)) return undefined
  return rules.map((rule) => ({ ...rule, filter: rule.filter.replaceAll(CLIENT_ID, () => clientId) }))
}

function readRule(members: ReadonlyMap<string, unknown>): CeilingRule | undefined {
  if (![...members.keys()].every((name) => MEMBERS.has(name))) return undefined
  const effect = members.get('permission')
  const action = members.get('action')
  const filter = readTopic(members.get('topic'))
  const qos = readQos(members.get('qos'))
  const retain = readRetain(members.get('retain'))
  if ((effect !== 'allow' && effect !== 'deny') || filter === undefined || qos === undefined) return undefined
  if (action !== 'publish' && action !== 'subscribe' && action !== 'all') return undefined
  if (retain === undefined) return undefined
  // A deny for no QoS cannot be meant: it denies every one.
  const everyQos = qos === 'any' || (effect === 'deny' && qos.length === 0)
  return {
    effect,
    publish: action !== 'subscribe',
    subscribe: action !== 'publish',
    ...filter,
    ...(everyQos ? {} : { qos }),
    ...(retain === 'any' ? {} : { retain }),
  }
}

function readTopic(topic: unknown): { filter: string; literal?: true } | undefined {
  if (!isIdentity(topic)) return undefined
  const isLiteral = topic.startsWith(LITERAL_PREFIX)
  const filter = isLiteral ? topic.slice(LITERAL_PREFIX.length) : topic
  const withoutClientId = filter.replaceAll(CLIENT_ID, 'x')
  // Other placeholders (`${username}`, `${client_attrs.x}`) stand for values that nobody has verified.
  if (withoutClientId.includes('${')) return undefined
  if (isLiteral) return isIdentity(withoutClientId) ? { filter, literal: true } : undefined
  return isTopicFilter(withoutClientId) ? { filter } : undefined
}

function readQos(qos: unknown): readonly number[] | 'any' | undefined {
  if (qos === undefined) return 'any'
  const levels: unknown[] = Array.isArray(qos) ? qos : [qos]
  return levels.every((level) => level === 0 || level === 1 || level === 2) ? (levels as number[]) : undefined
}

function readRetain(retain: unknown): boolean | 'any' | undefined {
  if (retain === undefined || retain === 'all') return 'any'
  if (retain === true || retain === 1) return true
  return retain === false || retain === 0 ? false : undefined
}

function membersOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map(
    typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [],
  )
}
