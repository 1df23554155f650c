// The keys under `delegation`: for whom single messages are sent, and how their receivers are told.
import type { Parsed } from './fields.ts'
import { count, field, flag, requiredSection } from './schema-fields.ts'

/** A name of a User Property. */
export const propertyName = (preset: string, example: string) =>
  field(
    (value): Parsed<string> =>
      typeof value === 'string' && /^[^\s\p{C}]{1,128}$/u.test(value)
        ? { ok: true, value }
        : { ok: false, message: `Write a name without blanks, such as \`${example}\`.` },
    { type: 'string' },
  ).prefault(preset)

export const delegationSchema = requiredSection({
  property: propertyName('off', 'postern-token').describe(
    'User Property of a PUBLISH that carries the token of the human it is sent for; `off` for none.',
  ),
  tokens: count(1000, 1, 100_000).describe('Such tokens that are kept in mind for each connection.'),
  stamp: flag(false).describe(
    'Name agent, human and tenant in every PUBLISH to the broker; without it, only where a token was carried.',
  ),
  agentProperty: propertyName('postern-agent', 'postern-agent').describe(
    'User Property with the agent’s id. What agents send under these three names is removed.',
  ),
  humanProperty: propertyName('postern-human', 'postern-human').describe(
    'With the human’s id, where the agent acts for one.',
  ),
  tenantProperty: propertyName('postern-tenant', 'postern-tenant').describe(
    'With the tenant, if there is one.',
  ),
}).describe('Messages for many humans over one connection, and verified names in messages.')
