// The shapes of policy files: our own document and the MQTT.Agent form. Shapes only; what a rule may not say is
// rule-reader.ts. The only file of the policy that imports zod. design.md 5.
import { z } from 'zod'
import { AGENT_BINDINGS } from './agent-form.ts'

const oneOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, { error: `must be ${values.slice(0, -1).join(', ')} or ${values.at(-1)}` })
const text = z
  .string({
    error: (issue) =>
      issue.input === undefined
        ? 'is missing'
        : 'must be text; put quotes around it if it looks like a number',
  })
  .min(1, { error: 'cannot be empty' })
const texts = z
  .array(text, { error: 'must be a list of texts' })
  .min(1, { error: 'is an empty list: the rule can never match; remove the key or fill the list' })
const id = text.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
  error: 'must be letters, digits, `.`, `_` or `-`, at most 64, the first a letter or digit',
})
const action = oneOf(['publish', 'subscribe', 'publish+subscribe'])
const permission = oneOf(['allowed', 'required', 'forbidden'])
const qos = z.union([z.literal(0), z.literal(1), z.literal(2)], { error: 'must be 0, 1 or 2' })

export const rule = z.strictObject(
  {
    id: id.describe('Unique name of the rule, for audit records and messages.'),
    allow: action.optional().describe('What the rule allows. A rule has `allow` or `deny`.'),
    deny: action.optional().describe('What the rule denies; beats every allow.'),
    topic: text
      .optional()
      .describe('Topic Filter; `{name}` fills one whole level with an attribute of the token.'),
    topics: texts.optional().describe('Several of them, in place of `topic`.'),
    maxQos: qos.optional().describe('Highest QoS; default 2.'),
    minQos: qos.optional().describe('Lowest QoS; default 0.'),
    retain: permission.optional().describe('Retain flag of a PUBLISH; default forbidden.'),
    maxPayload: z
      .union([z.int().min(0), text], { error: 'must be a size such as 65536 or 64KiB' })
      .optional()
      .describe('Largest payload: bytes, or a number with B, KiB or MiB.'),
    shareGroups: z
      .union([z.literal('any'), texts], { error: 'must be `any` or a list of group names' })
      .optional()
      .describe(
        'Share groups that may be joined with this rule; default none. A name may hold one `{name}`.',
      ),
    responseTopic: permission
      .optional()
      .describe(
        'Response Topic of a PUBLISH; default allowed. It must always be one that the sender may subscribe to.',
      ),
    responseFilter: text.optional().describe('Topic Filter that a Response Topic must match.'),
    requiresGrant: z
      .boolean({ error: 'must be `true` or `false`' })
      .optional()
      .describe('Only with a just-in-time grant for the action; default false.'),
    agents: texts.optional().describe('Only for these agent ids.'),
    users: texts.optional().describe('Only while acting for one of these user ids.'),
    when: z
      .record(z.string(), z.union([text, texts], { error: 'must be a text or a list of texts' }), {
        error: 'must list attributes and their values',
      })
      .optional()
      .describe('Attributes, each of which must have one of the values.'),
    actingFor: oneOf(['any', 'user', 'self'])
      .optional()
      .describe('Only while the agent acts for a user, or for itself; default any.'),
  },
  { error: 'must be a rule, with `id`, `allow` or `deny`, and `topic`' },
)

export const agentRule = z.strictObject(
  {
    id: id.optional(),
    topic: text,
    action: oneOf(['pub', 'sub', 'pub+sub']),
    binding: z.enum(AGENT_BINDINGS, { error: `must be one of ${AGENT_BINDINGS.join(', ')}` }).optional(),
    agents: texts.optional(),
  },
  { error: 'must be a rule, with `topic` and `action`' },
)

const parties = z.strictObject(
  { users: texts.optional(), agents: texts.optional() },
  { error: 'must be `{}` for every pair, or name `users`, `agents` or both' },
)
export const pair = z.strictObject(
  {
    id,
    allow: parties.optional().describe('Pairs that may act; without `users` or `agents`: any.'),
    deny: parties.optional().describe('Pairs that may do nothing at all; beats every allow.'),
  },
  { error: 'must be a pair, with `id`, and `allow` or `deny`' },
)

const mode = oneOf(['enforce', 'shadow'])
const modes = z
  .union(
    [
      mode,
      z.strictObject({
        tenant: mode.optional(),
        agents: mode.optional(),
        users: mode.optional(),
        pairs: mode.optional(),
      }),
    ],
    { error: 'must be enforce or shadow, or name one of them for each of tenant, agents, users, pairs' },
  )
  .optional()
  .describe('`shadow`: denials of these rules are recorded and counted, and let through. Default `enforce`.')

const ruleList = <T extends z.ZodType>(item: T) =>
  z.array(item, { error: 'must be a list of rules' }).nullish()
export const document = z.strictObject(
  {
    version: z.literal(1, { error: 'must be 1' }),
    attributes: z
      .array(
        text.regex(/^[A-Za-z][A-Za-z0-9_.-]*$/, {
          error: 'must be letters, digits, `.`, `_` or `-`, the first a letter',
        }),
        { error: 'must be a list of names' },
      )
      .optional()
      .describe(
        'Attributes that rules use beyond agent_id, user_id, org_id and client_id; issuers must map them.',
      ),
    mode: modes,
    tenant: z
      .strictObject({ topics: texts }, { error: 'must have `topics`' })
      .optional()
      .describe('Every topic must lie in one of these.'),
    agents: ruleList(z.union([rule, agentRule])).describe('What agents may do. Nothing without a rule.'),
    users: ruleList(rule).describe('What the users that agents act for may do.'),
    pairs: z
      .array(pair, { error: 'must be a list of pairs' })
      .optional()
      .describe('Which agents may act for which users. Without this key: all that the rules allow.'),
  },
  { error: 'must be a policy, which starts with `version: 1`' },
)
export const agentDocument = z.strictObject({
  version: z.union([z.string(), z.number()]).optional(),
  default: z.literal('deny', { error: 'must be `deny`: what no rule allows is denied, always' }).optional(),
  global: ruleList(agentRule),
  rules: ruleList(agentRule),
})
/** Lists as they come: their items are checked one by one, so that each problem names its rule. */
export const documentOutline = document.extend({
  agents: ruleList(z.unknown()),
  users: ruleList(z.unknown()),
  pairs: z
    .array(z.unknown(), { error: 'must be a list of pairs' })
    .min(1, { error: 'is an empty list: nobody could act; remove it or write `allow: {}`' })
    .optional(),
})
export const agentOutline = agentDocument.extend({
  global: ruleList(z.unknown()),
  rules: ruleList(z.unknown()),
})

/** JSON Schema (2020-12) of everything that `loadPolicy` reads. */
export const policyJsonSchema: Record<string, unknown> = z.toJSONSchema(
  z.union([document, agentDocument, agentRule, z.array(agentRule)]),
)
