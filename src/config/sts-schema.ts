// The form of the configuration file of `postern sts`: keys, types, defaults and what each is for. One source for the
// parser, for docs/sts.schema.json and for docs/sts-configuration.md.
import { z } from 'zod'
import type { Parsed } from './fields.ts'
import { algorithmsSchema, jwksSchema } from './keys-schema.ts'
import type { SchemaNode } from './schema.ts'
import {
  address,
  choice,
  count,
  duration,
  field,
  requiredSection,
  section,
  size,
  text,
  texts,
} from './schema-fields.ts'
import { ID_JAG_DRAFT, type ScopeEntry } from './sts-config.ts'

const provider = section({
  issuer: text('the issuer, exactly as in the `iss` claim,').describe('Exact value of the `iss` claim.'),
  jwks: jwksSchema('this provider'),
  algorithms: algorithmsSchema(['RS256', 'ES256']),
  maxLifetime: duration('10m', '1s', '1h').describe('Longest `exp` minus `iat` of an assertion.'),
  leeway: duration('30s', '0s', '60s').describe('Clock difference that is forgiven.'),
  subjectClaim: choice(['sub', 'aud_sub'])
    .prefault('sub')
    .describe('Claim with the name of the human, which becomes `sub` of the token.'),
  subjectPrefix: text('a prefix')
    .optional()
    .describe('Stands before that name in tokens. Required with more than one provider, each its own.'),
  tenant: text('a tenant').optional().describe('Tenant of everybody it vouches for: `org_id` of the token.'),
  tenantClaim: text('a claim name')
    .optional()
    .describe('Claim with the tenant, such as `tenant`; an assertion without it is refused.'),
  tenants: z
    .array(text('a tenant'), { error: 'Write a list of tenants, such as `[acme]`.' })
    .optional()
    .describe(
      'Tenants that this claim may name. Required with more than one provider: none speaks for all tenants.',
    ),
})

const client = section({
  id: text('a client id').describe('`client_id` of this OAuth client.'),
  agent: section({
    sub: text('the name of the agent').describe('`act.sub` of its tokens: the agent’s name.'),
    iss: text('the name space of the agent')
      .optional()
      .describe('`act.iss` of its tokens. Absent: `issuer` of this server.'),
  }).describe('The agent that this client is.'),
  secretFile: text('a path')
    .optional()
    .describe('Secret of at least 32 characters (`client_secret_basic`, `client_secret_post`).'),
  jwks: jwksSchema('this client')
    .unwrap()
    .optional()
    .describe('Public keys of this client (`private_key_jwt`): `url` or `file`.'),
  algorithms: algorithmsSchema(['ES256', 'Ed25519']),
  providers: texts('issuers of providers')
    .optional()
    .describe('Whose assertions it may present. Absent: of every provider.'),
  scopes: z
    .array(text('the name of a scope'), { error: 'Write a list of names from `scopes`, or `[]`.' })
    .prefault([])
    .describe(
      'Scopes it may have at most; without any its tokens carry no scope, and the policy alone decides.',
    ),
})

/** Name to entries `[filter, [pub, sub]]` (RFC 9237 as RFC 9431 uses it). */
const scopes = field(
  (value): Parsed<Readonly<Record<string, readonly ScopeEntry[]>>> => {
    const message =
      'Write names with lists of entries `[topic filter, [pub, sub]]`, such as `cards: [["agents/+/card", [sub]]]`.'
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return { ok: false, message }
    const map: Record<string, readonly ScopeEntry[]> = Object.create(null)
    for (const [name, entries] of Object.entries(value)) {
      // RFC 6749 §3.3: scope-token.
      if (!/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/.test(name)) {
        return {
          ok: false,
          message: 'The name of a scope has visible ASCII characters without blanks, `"` and `\\`.',
        }
      }
      if (!Array.isArray(entries) || !entries.every(isEntry)) return { ok: false, message }
      map[name] = entries
    }
    return { ok: true, value: map }
  },
  { type: 'object' },
)
  .prefault({})
  .describe('What each scope permits: name to a list of `[topic filter, [pub, sub]]`.')

function isEntry(entry: unknown): entry is ScopeEntry {
  if (!Array.isArray(entry) || entry.length !== 2) return false
  const [filter, permissions] = entry as unknown[]
  return (
    typeof filter === 'string' &&
    isFilter(filter) &&
    Array.isArray(permissions) &&
    permissions.length > 0 &&
    permissions.every((permission) => permission === 'pub' || permission === 'sub')
  )
}

/** MQTT 5.0 §4.7.1; one bad filter would make the whole scope of a token grant nothing. */
function isFilter(text: string): boolean {
  const levels = text.split('/')
  return (
    /^[^\p{Cc}]{1,1024}$/u.test(text) &&
    levels.every(
      (level, i) => !/[+#]/.test(level) || level === '+' || (level === '#' && i === levels.length - 1),
    )
  )
}

export const stsSchema = section({
  issuer: text('the issuer identifier of this server').describe(
    'Identifier of this server: `iss` of its tokens, `aud` of what it takes. HTTPS without a path; plain HTTP on loopback.',
  ),
  address: address('127.0.0.1:9465').prefault('127.0.0.1:9465').describe('Where it listens.'),
  tls: section({
    certFile: text('a path').describe('Certificate chain, PEM; read again when it changes.'),
    keyFile: text('a path').describe('Its private key, PEM.'),
    minVersion: choice(['TLSv1.2', 'TLSv1.3']).prefault('TLSv1.2').describe('Oldest version that is spoken.'),
  })
    .optional()
    .describe('TLS. Absent: plain HTTP, for loopback or behind something that ends TLS.'),
  keysFile: text('a path').describe(
    'Signing keys from `postern sts keygen`; the first signs, all are published. Read again when it changes.',
  ),
  profile: choice([ID_JAG_DRAFT]).describe(
    `The draft that assertions (ID-JAG) follow: \`${ID_JAG_DRAFT}\`. Drafts change; without its name nothing is taken.`,
  ),
  token: section({
    audience: text('the audience of the proxy').describe(
      '`aud` of tokens: the `audience` of Postern; also the one `resource` that may be asked for.',
    ),
    lifetime: duration('5m', '10s', '15m').describe('How long a token is good.'),
  }).describe('The tokens that are issued.'),
  providers: z
    .array(provider, { error: 'Write a list of providers, such as `- issuer: https://idp.example`.' })
    .min(1, { error: 'Write at least one provider, such as `- issuer: https://idp.example`.' })
    .describe('Identity providers that decide which agent acts for whom.'),
  clients: z
    .array(client, { error: 'Write a list of clients, such as `- id: scout-client`.' })
    .min(1, { error: 'Write at least one client, such as `- id: scout-client`.' })
    .describe('The agents, as OAuth clients.'),
  scopes,
  replayFile: text('a path').describe(
    'Which assertions were used, kept over a restart; one process per file.',
  ),
  auditFile: text('a path').describe('Audit log of issued and refused tokens, in a chain of its own.'),
  limits: requiredSection({
    connections: count(256, 1, 100_000).describe('Connections at a time.'),
    requestTimeout: duration('5s', '10ms', '5m').describe('From accept to the whole request.'),
    bodyBytes: size('64KiB', '1KiB', '1MiB').describe('Longest request.'),
    failedTries: count(20, 1, 1_000_000).describe(
      'Refused requests in the window, per address and client named, and per client that is who it says.',
    ),
    failedTriesWindow: duration('60s', '1s', '24h').describe('The window of `failedTries`.'),
  }).describe('Bounds for what a client may make the server hold or do.'),
  log: requiredSection({
    level: choice(['debug', 'info', 'warn', 'error', 'silent'])
      .prefault('info')
      .describe('Least level that is logged.'),
  }).describe('The log of this process; not the audit trail.'),
})

/** A file that fits the schema. */
export type StsFile = z.output<typeof stsSchema>

/** The file's JSON Schema (2020-12), for editors and docs/sts.schema.json. */
export const stsJsonSchema = z.toJSONSchema(stsSchema, { io: 'input' }) as SchemaNode
