// Rules that load but are probably not meant: too broad, without effect, or never in force. Findings are advice for
// `postern check`; what can never match at all is an error of document.ts. peers.md 2, K8.
import { attributesOf } from './bind.ts'
import type { Policy } from './policy.ts'
import type { Limits, Rule, RuleSet, Selector } from './rule.ts'
import { BUILT_IN_ATTRIBUTES, type Template } from './template.ts'
import { compileFilter, covers, overlaps, TopicFilter } from './topic-filter.ts'

export interface LintFinding {
  /** Rule id; empty for the document as a whole. */
  readonly rule: string
  /** 1-based; undefined for the document as a whole. */
  readonly line: number | undefined
  /** A sentence. */
  readonly message: string
}

export interface LintOptions {
  /** As in `BindOptions`; with `required` a document without user rules is worth a word. */
  readonly userLayer?: 'required' | 'none'
  /** Attributes that some issuer's configuration fills. Without it, declared names count as filled. */
  readonly mapped?: ReadonlySet<string>
  /** The configuration says whose grants are taken; undefined: not known. */
  readonly grants?: boolean
}

/** Prefixes that hold another topic inside, so that rules on that topic do not see it (EMQX and others). */
const WRAPPERS: ReadonlySet<string> = new Set(['$queue', '$exclusive', '$delayed', '$oshare', '$stream'])

export function lintPolicy(policy: Policy, options: LintOptions = {}): LintFinding[] {
  const { rules } = policy
  const all = [...(rules.tenant ? [rules.tenant] : []), ...rules.agents, ...rules.users]
  return [
    ...emptyLayers(rules, options),
    ...unusedAttributes(rules, all),
    ...all.flatMap((rule) =>
      [...breadth(rule), ...unfilled(rule, options), ...ungrantable(rule, options)].map((message) =>
        finding(rule, message),
      ),
    ),
    ...dead(rules.agents),
    ...dead(rules.users),
  ]
}

function finding(rule: Rule, message: string): LintFinding {
  return { rule: rule.id, line: rule.line, message: `Rule ${rule.id} ${message}.` }
}

function emptyLayers(rules: RuleSet, options: LintOptions): LintFinding[] {
  const about = (message: string) => ({ rule: '', line: undefined, message })
  const findings: LintFinding[] = []
  if (rules.shadow !== undefined) {
    findings.push(
      about(`What these layers deny is let through (\`mode: shadow\`): ${[...rules.shadow].join(', ')}.`),
    )
  }
  if (!rules.agents.some(({ effect }) => effect === 'allow')) {
    findings.push(about('No rule under `agents` allows anything: every action is denied.'))
  }
  if (options.userLayer === 'required' && !rules.users.some(({ effect }) => effect === 'allow')) {
    findings.push(
      about('No rule under `users` allows anything: every agent that acts for a user is denied everything.'),
    )
  }
  return findings
}

function unusedAttributes(rules: RuleSet, all: readonly Rule[]): LintFinding[] {
  const used = new Set(all.flatMap(namesIn))
  return rules.attributes
    .filter((name) => !used.has(name))
    .map((name) => ({
      rule: '',
      line: undefined,
      message: `The attribute ${name} is declared, but no rule uses it.`,
    }))
}

function namesIn(rule: Rule): string[] {
  return [...attributesOf(rule), ...rule.selector.when.keys(), ...rule.selector.requires]
}

function unfilled(rule: Rule, { mapped }: LintOptions): string[] {
  if (mapped === undefined) return []
  // A tenant is only known where an issuer's configuration names its claim.
  const known = new Set<string>([...BUILT_IN_ATTRIBUTES.filter((name) => name !== 'org_id'), ...mapped])
  const missing = [...new Set(namesIn(rule))].filter((name) => !known.has(name))
  return missing.map((name) =>
    rule.effect === 'allow'
      ? `never applies: no issuer's configuration maps a claim to ${name}`
      : `applies to any value of ${name}: no issuer's configuration maps a claim to it`,
  )
}

function ungrantable(rule: Rule, { grants }: LintOptions): string[] {
  if (grants !== false || !rule.limits.requiresGrant) return []
  return ['never allows anything: it requires a grant, and the configuration has no `grants`']
}

function breadth(rule: Rule): string[] {
  if (rule.effect === 'deny') return []
  const messages = rule.topics.flatMap((topic) => topicBreadth(rule, topic))
  if (rule.layer !== 'tenant' && rule.subscribe && rule.shareGroups === 'any') {
    messages.push('lets agents join any share group and so take messages from its members: list the groups')
  }
  return messages
}

function topicBreadth(rule: Rule, topic: Template): string[] {
  const first = topic.levels[0]
  const name = `\`${topic.text}\``
  if (first === '#' || first === '+') {
    if (rule.layer === 'tenant')
      return [`bounds no tenant: ${name} starts with a wildcard, not with {org_id}`]
    return [`is very broad: ${name} reaches topics of every first level`]
  }
  if (rule.layer === 'tenant') return []
  const isUnbound = /[+#]/.test(topic.text) && topic.names.length === 0 && rule.selector.agents === undefined
  if (rule.layer === 'agent' && rule.publish && isUnbound) {
    return [
      `lets every agent publish as any other on ${name}: write {agent_id} at one level, or list \`agents\``,
    ]
  }
  if (first === '$CONTROL' && rule.publish) return ['lets agents administer the broker through `$CONTROL`']
  if (typeof first !== 'string' || !WRAPPERS.has(first)) return []
  return [`names \`${first}\`, which holds another topic inside: deny rules on that topic do not apply to it`]
}

/** Rules of one layer that make no difference because of another one. */
function dead(rules: readonly Rule[]): LintFinding[] {
  return rules.flatMap((rule, i) => {
    const twin = rules.find(
      (other, j) => other !== rule && includes(other, rule) && (j < i || !includes(rule, other)),
    )
    if (twin !== undefined)
      return [finding(rule, `changes nothing: rule ${twin.id} has the same effect on all of it`)]
    const denies = rules.filter((other) => other.effect === 'deny')
    const deny = denies.find((other) => rule.effect === 'allow' && reaches(other, rule))
    if (deny !== undefined)
      return [finding(rule, `never allows anything: the deny ${deny.id} covers all of it`)]
    if (rule.effect === 'deny' && !rules.some((other) => other.effect === 'allow' && meets(rule, other))) {
      return [finding(rule, 'denies nothing that a rule of its list allows')]
    }
    return []
  })
}

/** Whether `outer` has the same effect as `inner` wherever `inner` has one. */
function includes(outer: Rule, inner: Rule): boolean {
  if (outer.effect !== inner.effect || !reaches(outer, inner)) return false
  if (outer.effect === 'deny') return true
  return hasWiderLimits(outer.limits, inner.limits) && hasWiderTexts(outer, inner)
}

/** Whether `outer` speaks of every action, topic and subject that `inner` speaks of. */
function reaches(outer: Rule, inner: Rule): boolean {
  if ((inner.publish && !outer.publish) || (inner.subscribe && !outer.subscribe)) return false
  const names = new Set(attributesOf(inner))
  if (outer.effect === 'allow' && attributesOf(outer).some((name) => !names.has(name))) return false
  if (!isWiderSelector(outer.selector, inner.selector, names)) return false
  return inner.topics.every((topic) => outer.topics.some((other) => contains(other, topic)))
}

function meets(a: Rule, b: Rule): boolean {
  if (!((a.publish && b.publish) || (a.subscribe && b.subscribe))) return false
  return a.topics.some((topic) => b.topics.some((other) => ask(overlaps, loose(topic), loose(other))))
}

/** Placeholders count as literal levels of their own: `{a}` is in `{a}` and in `+`. */
function contains(outer: Template, inner: Template): boolean {
  return ask(covers, outer.text, inner.text)
}

/** With `+` for each placeholder, for it may become any level. */
function loose(template: Template): string {
  return template.levels.map((level) => (typeof level === 'string' ? level : '+')).join('/')
}

function ask(question: typeof covers, filter: string, other: string): boolean {
  const compiled = compileFilter(filter)
  const bytes = Buffer.from(other)
  return compiled instanceof TopicFilter && question(compiled, bytes, 0, bytes.length)
}

function hasWiderLimits(outer: Limits, inner: Limits): boolean {
  const allowsAll = inner.highestQos.every((highest, qos) => highest !== qos || outer.highestQos[qos] === qos)
  const isWider = (a: string, b: string) => a === 'allowed' || a === b
  return (
    allowsAll &&
    isWider(outer.retain, inner.retain) &&
    isWider(outer.responseTopic, inner.responseTopic) &&
    outer.maxPayload >= inner.maxPayload &&
    (!outer.sharedOnly || inner.sharedOnly === true) &&
    (!outer.requiresGrant || inner.requiresGrant === true)
  )
}

function hasWiderTexts(outer: Rule, inner: Rule): boolean {
  if (outer.responseFilter !== undefined && outer.responseFilter.text !== inner.responseFilter?.text)
    return false
  if (outer.shareGroups === 'any') return true
  const groups = new Set(outer.shareGroups.map(({ text }) => text))
  return inner.shareGroups !== 'any' && inner.shareGroups.every(({ text }) => groups.has(text))
}

function isWiderSelector(outer: Selector, inner: Selector, bound: ReadonlySet<string>): boolean {
  if (outer.actingFor !== 'any' && outer.actingFor !== inner.actingFor) return false
  if (!isWiderSet(outer.agents, inner.agents) || !isWiderSet(outer.users, inner.users)) return false
  if (outer.requires.some((name) => !inner.requires.includes(name) && !bound.has(name))) return false
  return [...outer.when].every(([name, values]) => isWiderSet(values, inner.when.get(name)))
}

function isWiderSet(outer: ReadonlySet<string> | undefined, inner: ReadonlySet<string> | undefined): boolean {
  return outer === undefined || (inner !== undefined && [...inner].every((value) => outer.has(value)))
}
