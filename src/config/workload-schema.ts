// The keys of an issuer whose tokens are those of workloads: Kubernetes service accounts and SPIFFE identities.
import { z } from 'zod'
import type { Parsed } from './fields.ts'
import { choice, field, section, text } from './schema-fields.ts'

const MARKS = new Set(['{agent_id}', '{org_id}', '*'])

const matching = (pattern: RegExp, message: string) =>
  field(
    (value): Parsed<string> =>
      typeof value === 'string' && pattern.test(value) ? { ok: true, value } : { ok: false, message },
    { type: 'string' },
  )

const account = section({
  namespace: matching(/^[a-z0-9-]{1,63}$/, 'Write the namespace of the service account.').describe(
    'Namespace, exact.',
  ),
  serviceAccount: matching(/^[a-z0-9.-]{1,253}$/, 'Write the name of the service account.').describe(
    'Name, exact.',
  ),
  agent: text('the agent id').describe('Agent id that it has in rules and topics.'),
  uid: text('a uid')
    .optional()
    .describe('UID of the service account: one made anew under this name is refused. Absent: any.'),
  pod: matching(/^[a-z0-9.*-]{1,253}$/, 'Write the name of the pod; `*` stands for a part of it.')
    .optional()
    .describe(
      'Name of the pod that the token is bound to, `*` for letters, digits and `-`. Absent: any pod.',
    ),
})

export const kubernetesSchema = section({
  agents: z
    .array(account, { error: 'Write a list of service accounts, each with its `agent`.' })
    .min(1, { error: 'Write at least one service account: one that is not listed is refused.' })
    .describe('Service accounts that are agents.'),
  tenant: choice(['none', 'namespace']).prefault('none').describe('Whether the namespace is the tenant.'),
})
  .optional()
  .describe('Mapping `kubernetes`: which service account is which agent.')

export const spiffeSchema = section({
  trustDomain: matching(
    /^[a-z0-9._-]{1,255}$/,
    'Write the name of the trust domain without `spiffe://`, such as `prod.example`.',
  ).describe('Trust domain whose bundle `jwks` is. A `sub` of any other is refused.'),
  paths: z
    .array(field(pathTemplate, { type: 'string' }), { error: 'Write a list of paths.' })
    .min(1, { error: 'Write at least one path, such as `/ns/agents/sa/{agent_id}`.' })
    .describe(
      'What the path of a `sub` must be; the first that fits counts. `{agent_id}` is the agent, `{org_id}` the tenant, `*` any one segment.',
    ),
})
  .optional()
  .describe('Mapping `spiffe`: which SPIFFE ID is which agent.')

function pathTemplate(value: unknown): Parsed<string> {
  const segments = typeof value === 'string' && value.startsWith('/') ? value.split('/').slice(1) : []
  const times = (mark: string): number => segments.filter((segment) => segment === mark).length
  const isClean = segments.every((one) => MARKS.has(one) || /^[A-Za-z0-9._-]+$/.test(one))
  return isClean && times('{agent_id}') === 1 && times('{org_id}') <= 1
    ? { ok: true, value: value as string }
    : {
        ok: false,
        message:
          'Write a path with `{agent_id}` as one whole segment, and at most one `{org_id}`, such as `/ns/agents/sa/{agent_id}`.',
      }
}
