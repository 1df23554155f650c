// A loaded policy and what it makes of one principal. Immutable: a reload makes a new one and binds every live
// connection again. design.md 4, 5.
import { Acl, type AclOptions } from './acl.ts'
import { attributesOf, expandRule } from './bind.ts'
import { ceilingLayer } from './ceiling.ts'
import { type Grant, type GrantLists, type Layer, PairLayer, RuleLayer } from './layer.ts'
import { isAbout, type Pair, type Rule, type RuleSet, whyNotFor } from './rule.ts'
import type { Subject } from './subject.ts'
import { Verdict } from './verdict.ts'

export interface BindOptions extends AclOptions {
  /** `required`: an agent that acts for a user needs an allow of the user rules; `none`: they do not apply. */
  readonly userLayer: 'required' | 'none'
  /** A token without any ceiling: no such layer, or a layer that denies. */
  readonly missingCeiling: 'none' | 'deny'
}

/** Subjects whose grants are kept: an agent that connects again costs no expansion, its connections share one copy. */
const MOST_SUBJECTS = 1000

/** The rules with a subject's values. */
interface Expansion {
  readonly tenant: GrantLists | undefined
  readonly agent: GrantLists
  readonly user: GrantLists
  readonly problems: readonly string[]
}

export class Policy {
  /** Digest of the rules; comments and layout do not change it. */
  readonly version: string
  readonly rules: RuleSet
  /** Rules without placeholders expand to the same grants for everyone: made once, shared by all connections. */
  #shared = new Map<Rule, readonly Grant[]>()
  /** By all that rules ask of a subject; oldest first. */
  #expansions = new Map<string, Expansion>()
  /** Attributes that some rule uses. */
  readonly #attributes: readonly string[]

  constructor(version: string, rules: RuleSet) {
    this.version = version
    this.rules = rules
    const all = [...(rules.tenant === undefined ? [] : [rules.tenant]), ...rules.agents, ...rules.users]
    const names = all.flatMap((rule) => {
      const { when, requires } = rule.selector
      return [...attributesOf(rule), ...when.keys(), ...requires]
    })
    this.#attributes = [...new Set(names)]
  }

  bind(subject: Subject, options: BindOptions): Acl {
    const problems: string[] = []
    const layers: Layer[] = subject.ceilings.map((ceiling) => ceilingLayer(ceiling, problems))
    if (layers.length === 0 && options.missingCeiling === 'deny')
      layers.push(new RuleLayer('token', noGrants()))
    const { pairs } = this.rules
    const { tenant, agent, user, problems: unbound } = this.#expansionOf(subject, options.userLayer)
    problems.push(...unbound)
    if (tenant !== undefined) layers.push(new RuleLayer('tenant', tenant, Verdict.OUTSIDE_TENANT))
    layers.push(new RuleLayer('agent', agent))
    if (subject.delegated) {
      if (options.userLayer === 'required') layers.push(new RuleLayer('user', user))
      if (pairs !== undefined) layers.push(pairLayer(pairs, subject))
    }
    return new Acl(subject, this.rules, layers, problems, options)
  }

  #expansionOf(subject: Subject, userLayer: BindOptions['userLayer']): Expansion {
    const { agent, human, delegated, attributes } = subject
    const values = this.#attributes.map((name) => attributes.get(name) ?? null)
    const key = JSON.stringify([agent.id, human.id, delegated, userLayer, values])
    let expansion = this.#expansions.get(key)
    if (expansion === undefined) {
      const problems: string[] = []
      const { tenant, agents, users } = this.rules
      const applied = delegated && userLayer === 'required' ? users : []
      expansion = {
        tenant: tenant === undefined ? undefined : this.#expand([tenant], subject, problems),
        agent: this.#expand(agents, subject, problems),
        user: this.#expand(applied, subject, problems),
        problems,
      }
    } else this.#expansions.delete(key)
    this.#expansions.set(key, expansion)
    if (this.#expansions.size > MOST_SUBJECTS) {
      for (const oldest of this.#expansions.keys()) {
        this.#expansions.delete(oldest)
        break
      }
    }
    return expansion
  }

  #expand(rules: readonly Rule[], subject: Subject, problems: string[]): GrantLists {
    const lists = noGrants()
    for (const rule of rules) {
      const grants = this.#grantsOf(rule, subject, problems)
      if (rule.publish) (rule.effect === 'allow' ? lists.publishAllow : lists.publishDeny).push(...grants)
      if (rule.subscribe)
        (rule.effect === 'allow' ? lists.subscribeAllow : lists.subscribeDeny).push(...grants)
    }
    return lists
  }

  #grantsOf(rule: Rule, subject: Subject, problems: string[]): readonly Grant[] {
    if (whyNotFor(rule.effect, rule.selector, subject) !== undefined) return []
    const shared = this.#shared.get(rule)
    if (shared !== undefined) return shared
    const grants = expandRule(rule, subject, problems)
    if (attributesOf(rule).length === 0) this.#shared.set(rule, grants)
    return grants
  }
}

function pairLayer(pairs: readonly Pair[], subject: Subject): PairLayer {
  const about = pairs.filter((pair) => isAbout(pair, subject))
  const deny = about.find((pair) => pair.effect === 'deny')
  if (deny !== undefined) return new PairLayer(Verdict.DENY_RULE, deny.id)
  const allow = about.find((pair) => pair.effect === 'allow')
  return allow === undefined
    ? new PairLayer(Verdict.NO_RULE, undefined)
    : new PairLayer(Verdict.ALLOW, allow.id)
}

function noGrants(): GrantLists {
  return { publishAllow: [], publishDeny: [], subscribeAllow: [], subscribeDeny: [] }
}
