// The keys under `grants`: whose just-in-time grants are taken, and how they come in.
import { z } from 'zod'
import { propertyName } from './delegation-schema.ts'
import { algorithmsSchema, jwksSchema } from './keys-schema.ts'
import { duration, field, section, size, text, texts, topicName } from './schema-fields.ts'

const issuer = section({
  issuer: text('the issuer, exactly as in the `iss` claim,').describe('Exact value of the `iss` claim.'),
  audience: texts('the audience of this proxy')
    .optional()
    .describe('The grant’s `aud` must contain one of these. Absent: the `audience` at the top level.'),
  jwks: jwksSchema('this issuer, unless `issuers` has one of the same name'),
  algorithms: algorithmsSchema(['ES256', 'Ed25519']),
  subjects: text('an issuer')
    .optional()
    .describe('Issuer of the human that `sub` names. Absent: the issuer of the grant itself.'),
  leeway: duration('30s', '0s', '60s').describe(
    'How far `iat` and `nbf` may be ahead of our clock. A grant ends at `exp` sharp.',
  ),
})

export const grantsSchema = z
  .union(
    [
      z.literal('off'),
      z.literal(false),
      section({
        file: text('a path')
          .optional()
          .describe(
            'Uses that were taken, kept over a restart; one process per file. Not with a `store`, which counts them.',
          ),
        issuers: z
          .array(issuer, { error: 'Write a list of issuers, such as `- issuer: https://approvals.example`.' })
          .min(1, { error: 'Write at least one issuer, such as `- issuer: https://approvals.example`.' })
          .describe('Whose grants are taken.'),
        property: propertyName('postern-grant', 'postern-grant').describe(
          'User Property of a PUBLISH that carries the grant for it, and is taken out; `off` for none.',
        ),
        topic: field(topicName, { type: 'string' })
          .prefault('$postern/grant')
          .describe('A PUBLISH here brings a grant and is never forwarded; `off` for none.'),
        maxLifetime: duration('5m', '1s', '5m').describe('Longest `exp` minus `iat`.'),
        maxBytes: size('8KiB', '64B', '64KiB').describe('Longest grant.'),
        maxPayload: size('64KiB', '1B', '16MiB').describe(
          'Longest payload for a grant that is bound to one (`payload_sha256`): it is held until all of it is there.',
        ),
      }),
    ],
    { error: 'Write `off`, or a section with `file: grants.jsonl` and `issuers`.' },
  )
  .prefault('off')
  .describe(
    'Just-in-time grants for rules with `requiresGrant`, an extension of Postern’s own; `off` for none.',
  )
