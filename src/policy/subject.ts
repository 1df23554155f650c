// What the PDP knows of who is acting. Built by identity/principal.ts from a verified token; the policy
// never sees a token.

/** One side of a delegation, or the only side. Strings are compared as exact UTF-8 bytes. */
export interface Party {
  /** Namespace of `sub`: the issuer, or `act.iss` for an actor. */
  iss: string
  sub: string
  /** The short name used in rules and topics (`agent_id`, `user_id`); may equal `sub`. */
  id: string
}

/** One entry of a permission ceiling carried by the token itself. */
export interface CeilingRule {
  effect: 'allow' | 'deny'
  publish: boolean
  subscribe: boolean
  /** A Topic Filter, compared literally: no placeholders. */
  filter: string
  /** EMQX `eq ` prefix: `+` and `#` in `filter` have no wildcard meaning. */
  literal?: boolean
  maxQos?: 0 | 1 | 2
  /** Allowed QoS levels, when the format lists them (EMQX `qos`). */
  qos?: readonly number[]
  /** EMQX `retain`: the rule is for messages with exactly this flag. RAR `retain: false`: not allowed. */
  retain?: boolean
}

/** One permission format found in the token; each is a layer of its own, and every layer must allow. */
export interface Ceiling {
  /** `scope` (AIF, RFC 9237/9431), `authorization_details` (RFC 9396) or `acl` (EMQX). */
  format: 'scope' | 'authorization_details' | 'acl'
  /** EMQX array form decides by the first matching rule; the others by any allow and no deny. */
  firstMatch: boolean
  rules: readonly CeilingRule[]
}

/** What rules are bound to at CONNECT. Immutable. */
export interface Subject {
  agent: Party
  /** The human acted for; for a self-acting agent, its registered owner. */
  human: Party
  /** true: the agent acts for `human`, the user layer applies. false: self-acting. */
  delegated: boolean
  tenant: string | undefined
  /** MQTT Client Identifier after binding. */
  clientId: string
  /**
   * Values for placeholders and conditions, by name: `agent_id`, `user_id`, `org_id`, `client_id` and each claim
   * that the configuration maps. A list means an array claim. A Map, so that names such as `__proto__` are data.
   */
  attributes: ReadonlyMap<string, readonly string[]>
  ceilings: readonly Ceiling[]
}
