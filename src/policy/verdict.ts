// The PDP's integer answer and its names. A deny has a reason of its own for audit and metrics.

export const Verdict = {
  ALLOW: 0,
  /** No rule of some layer covers the action. */
  NO_RULE: 1,
  /** A deny rule matched the topic, or overlaps the filter. */
  DENY_RULE: 2,
  QOS_ABOVE_LIMIT: 3,
  RETAIN_NOT_ALLOWED: 4,
  RETAIN_REQUIRED: 5,
  PAYLOAD_TOO_LARGE: 6,
  RESPONSE_TOPIC_REQUIRED: 7,
  RESPONSE_TOPIC_NOT_ALLOWED: 8,
  SHARE_GROUP_NOT_ALLOWED: 9,
  /** The topic or filter is outside the principal's tenant. */
  OUTSIDE_TENANT: 10,
  /** A `$`-prefix that no rule names literally. */
  RESERVED_TOPIC: 11,
  QOS_BELOW_LIMIT: 12,
  /** All of the rule holds, and it asks for a grant that is not there. */
  GRANT_REQUIRED: 13,
} as const
export type Verdict = (typeof Verdict)[keyof typeof Verdict]

/** Stable reason names for audit records and metric labels, indexed by verdict. */
export const VERDICT_NAMES = [
  'allow',
  'no_rule',
  'deny_rule',
  'qos_above_limit',
  'retain_not_allowed',
  'retain_required',
  'payload_too_large',
  'response_topic_required',
  'response_topic_not_allowed',
  'share_group_not_allowed',
  'outside_tenant',
  'reserved_topic',
  'qos_below_limit',
  'grant_required',
] as const
