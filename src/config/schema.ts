// The form of the configuration file: keys, types, defaults and what each key is for. One source for the parser, for
// docs/config.schema.json and for docs/configuration.md. What contradicts what is in contradictions.ts.
import { z } from 'zod'
import { auditSection } from './audit-schema.ts'
import { credentialSourceSchema } from './credential-schema.ts'
import { delegationSchema } from './delegation-schema.ts'
import { type Parsed, parseNetwork } from './fields.ts'
import { grantsSchema } from './grants-schema.ts'
import { algorithmsSchema, issuerJwksSchema } from './keys-schema.ts'
import { proofSchema } from './proof-schema.ts'
import { revocationSchema } from './revocation-schema.ts'
import {
  address,
  choice,
  count,
  duration,
  field,
  flag,
  requiredSection,
  section,
  size,
  text,
  textMap,
  texts,
  topicName,
} from './schema-fields.ts'
import { storeSchema } from './store-schema.ts'
import { introspectionSchema, statusListSchema } from './token-check-schema.ts'
import { kubernetesSchema, spiffeSchema } from './workload-schema.ts'

/** MQTT 5.0 §2.1.4: the largest packet, 268 435 455 bytes after a fixed header of 5. */
const LARGEST_PACKET_BYTES = 268_435_460
/** Names that the principal itself sets (policy/subject.ts). */
const BUILT_IN_ATTRIBUTES = new Set(['agent_id', 'user_id', 'org_id', 'client_id'])

const listener = section({
  name: text('a name').optional().describe('Name in audit records. Absent: the address as written.'),
  address: address('127.0.0.1:1883').describe(
    'Where agents connect. Port 0 is any free port. A `unix:` path is a Unix socket.',
  ),
  tls: section({
    certFile: text('a path').describe('Certificate chain, PEM; read again when it changes.'),
    keyFile: text('a path').describe('Its private key, PEM.'),
    minVersion: choice(['TLSv1.2', 'TLSv1.3']).prefault('TLSv1.2').describe('Oldest version that is spoken.'),
    clientCertificates: choice(['none', 'request', 'verify'])
      .prefault('none')
      .describe(
        'Ask for a certificate: `request` takes any, for a token with `x5t#S256` says which; `verify` needs one of `clientCaFile`.',
      ),
    clientCaFile: text('a path').optional().describe('Authorities of client certificates, PEM.'),
  })
    .optional()
    .describe('TLS on this listener. Absent: plain TCP.'),
  mode: choice(['enforce', 'shadow'])
    .prefault('enforce')
    .describe(
      '`shadow`: what would be denied is recorded, counted and let through. Tokens are checked all the same.',
    ),
  credentials: choice(['agent', 'broker'])
    .prefault('agent')
    .describe(
      'Who has the token: `agent` shows it in CONNECT; `broker` Postern holds it, and an agent that shows any credential is refused.',
    ),
  credentialSource: credentialSourceSchema,
  proxyProtocolFrom: z
    .array(field(parseNetwork, { type: 'string' }), { error: 'Write a list of networks, or `[]`.' })
    .prefault([])
    .describe(
      'Networks of load balancers that send a PROXY protocol v2 header: it is required, and believed, from these only, and nobody else may connect. `[]`: no such header.',
    ),
})

const issuer = section({
  issuer: text('the issuer, exactly as in the `iss` claim,').describe('Exact value of the `iss` claim.'),
  audience: texts('the audience of this proxy')
    .optional()
    .describe('The token’s `aud` must contain one of these. Absent: the `audience` at the top level.'),
  jwks: issuerJwksSchema,
  algorithms: algorithmsSchema(['ES256', 'Ed25519']),
  mapping: choice(['act', 'client', 'claims', 'self', 'kubernetes', 'spiffe'])
    .prefault('act')
    .describe(
      'Who is who: `act` human `sub`, agent `act`; `client` human `sub`, agent `client_id`; `claims` agent and human ' +
        'by named claims; `self` agent `sub`, human from `owners`; `kubernetes` agent a service account, `spiffe` agent a SPIFFE ID, human from `owners`.',
    ),
  claims: section({
    agentId: text('a claim name')
      .optional()
      .describe(
        'Claim with the agent’s short name. Absent: `agent_id` under mapping `claims`, else the agent’s `sub`.',
      ),
    userId: text('a claim name')
      .optional()
      .describe(
        'Claim with the human’s short name. Absent: `user_id` under mapping `claims`, else the human’s `sub`.',
      ),
    tenant: text('a claim name')
      .optional()
      .describe('Claim with the tenant. Absent: `org_id`, if there, under mapping `claims`, else no tenant.'),
    attributes: textMap('attribute names with the claims they come from', (key) => {
      if (BUILT_IN_ATTRIBUTES.has(key))
        return `\`${key}\` is set by Postern itself: choose another attribute name.`
      if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(key))
        return 'An attribute name has letters, digits and `_` only, a letter first.'
      return undefined
    }).describe('Further placeholders and condition values: attribute name to claim name.'),
  })
    .prefault({})
    .describe('Claims whose values rules may use.'),
  owners: textMap('agent ids with the `sub` of the human who answers for each', (key) =>
    key === '' ? 'An agent id is not empty.' : undefined,
  ).describe(
    'Mappings `self`, `kubernetes`, `spiffe`: agent id to the human who answers for it. An agent that is not listed is refused.',
  ),
  kubernetes: kubernetesSchema,
  spiffe: spiffeSchema,
  legacyTyp: flag(false).describe('Accept a missing `typ` and `JWT` besides `at+jwt`.'),
  onWithdrawnKey: choice(['ignore', 'cut'])
    .prefault('ignore')
    .describe(
      'A key that is gone from the key set: `ignore` live connections go on until their token expires; `cut` they end at once.',
    ),
  requireClientId: flag(true).describe('Refuse a token without `client_id`.'),
  requireProof: flag(false).describe('Refuse a token that is bound to no key (`cnf`).'),
  requireSubProfile: flag(false).describe(
    'Refuse a token whose `sub_profile` is not `user`, or its actor’s not `ai_agent`.',
  ),
  maxLifetime: duration('15m', '1s').describe('Longest `exp` minus `iat`.'),
  leeway: duration('30s', '0s', '60s').describe('Clock difference that is forgiven.'),
  maxActorDepth: count(4, 1, 16).describe('Longest chain of `act`.'),
  ceilings: z
    .array(choice(['scope', 'authorization_details', 'acl']), {
      error: 'Write a list of `scope`, `authorization_details`, `acl`, or `[]`.',
    })
    .prefault(['scope', 'authorization_details', 'acl'])
    .describe('Permission formats that are read from the token. Each one present must allow.'),
  statusList: statusListSchema,
  introspection: introspectionSchema,
  missingCeiling: choice(['none', 'deny'])
    .prefault('none')
    .describe('A token with no such format: `none` no ceiling applies, `deny` nothing is allowed.'),
})

export const configSchema = section({
  instance: text('a name').prefault('postern').describe('Names this process in audit records.'),
  listeners: z
    .array(listener, { error: 'Write a list of listeners, such as `- address: 127.0.0.1:1883`.' })
    .min(1, { error: 'Write at least one listener, such as `- address: 127.0.0.1:1883`.' })
    .describe('Where agents connect.'),
  workers: count(1, 1, 64).describe(
    'Processes that serve agents; with more than 1, a further one watches files, revokes and answers on ' +
      '`admin`, and each worker writes an audit log of its own beside `audit.file`.',
  ),
  coalesceQos0: duration('2ms', '0ms', '10ms').describe(
    'Longest rest of the process between two turns of its work while more than two thousand small messages of QoS 0 a ' +
      'second pass, in both directions together, so that many share a waking, which saves CPU time. Everything that ' +
      'comes during a rest waits for its end. There is none for 10 ms after a connection was accepted, 8 KiB came at ' +
      'once, or anything that is answered or is an answer: QoS 1 and 2, requests and responses (Response Topic, ' +
      'Correlation Data), every packet but PUBLISH. `0ms`: never, for agents that wait for each other’s plain messages ' +
      'of QoS 0.',
  ),
  upstream: requiredSection({
    address: address('127.0.0.1:1884').describe('The broker.'),
    connectTimeout: duration('5s', '1ms', '10m').describe(
      'Longest wait for the broker’s connection and its CONNACK.',
    ),
    username: text('a user name')
      .optional()
      .describe('User Name for the broker; may hold `{agent_id}`, `{user_id}`, `{org_id}`, `{client_id}`.'),
    password: text('a password').optional().describe('Password for the broker. Better: `passwordFile`.'),
    passwordFile: text('a path')
      .optional()
      .describe('File with that password; one line break at its end is cut off.'),
    tls: section({
      caFile: text('a path')
        .optional()
        .describe(
          'Certificate authorities (PEM) that may vouch for the broker. Absent: those that Node.js knows.',
        ),
      certFile: text('a path')
        .optional()
        .describe('Client certificate (PEM) for the broker, with its chain.'),
      keyFile: text('a path').optional().describe('Its private key (PEM).'),
      serverName: text('a host name')
        .optional()
        .describe('Name that the broker’s certificate must have. Absent: the host of `address`.'),
    })
      .optional()
      .describe(
        'TLS to the broker; write `tls: {}` for the defaults. Files are read again when they change.',
      ),
    proxyProtocol: choice(['off', 'v2'])
      .prefault('off')
      .describe('`v2`: the broker is told the agent’s address (PROXY protocol; Mosquitto 2.1 or newer).'),
  }).describe('The broker behind Postern and the credential Postern shows it.'),
  audience: texts('the audience of this proxy').optional().describe('Default `audience` of all issuers.'),
  issuers: z
    .array(issuer, { error: 'Write a list of issuers, such as `- issuer: https://id.example`.' })
    .min(1, { error: 'Write at least one issuer, such as `- issuer: https://id.example`.' })
    .describe('Whose tokens are accepted, and how their claims are read.'),
  token: requiredSection({
    maxBytes: size('8KiB', '64B', '64KiB').describe('Longest token.'),
    fromUsername: flag(false).describe('Accept the token in the User Name too.'),
    methods: z
      .array(text('a method name'), { error: 'Write a list of method names, or `[]`.' })
      .prefault(['OAUTH2-JWT'])
      .describe('Authentication Methods whose Authentication Data is the token.'),
    topic: field(topicName, { type: 'string' })
      .prefault('$postern/token')
      .describe('A PUBLISH here renews the token of a connection and is never forwarded; `off` for none.'),
  }).describe('Where the token stands in CONNECT.'),
  proof: proofSchema,
  delegation: delegationSchema,
  clientId: requiredSection({
    binding: choice(['exact', 'prefix', 'any'])
      .prefault('exact')
      .describe(
        'Client Identifier: `exact` the agent id; `prefix` that, or with separator and suffix; `any` not bound.',
      ),
    separator: field(
      (value): Parsed<string> =>
        typeof value === 'string' && /^[^\s/+#\p{Cc}]{1,8}$/u.test(value)
          ? { ok: true, value }
          : {
              ok: false,
              message: 'Write one to eight characters without blanks, `/`, `+` and `#`, such as `"-"`.',
            },
      { type: 'string' },
    )
      .prefault('-')
      .describe('Stands between agent id and suffix under `binding: prefix`.'),
  }).describe('How the MQTT Client Identifier belongs to the agent.'),
  policy: requiredSection({
    file: text('the path of the policy').describe('The policy, read again when it changes.'),
    userLayer: choice(['required', 'none'])
      .prefault('required')
      .describe('`required`: the human’s rules must allow as well. `none`: only the agent’s rules count.'),
  }).describe('What agents and humans may do.'),
  denial: requiredSection({
    publishQos0: choice(['drop', 'disconnect']).prefault('drop').describe('A denied PUBLISH of QoS 0.'),
    delivery: choice(['drop', 'disconnect'])
      .prefault('drop')
      .describe('A message that the agent may no longer receive.'),
    hideTopics: flag(false).describe('Answer 0x80 in place of 0x87.'),
    qosAboveLimit: choice(['downgrade', 'deny'])
      .prefault('downgrade')
      .describe('SUBSCRIBE above the rule’s QoS.'),
    overlappingDeny: choice(['refuse', 'filter'])
      .prefault('refuse')
      .describe('A filter that overlaps a deny rule: refused, or granted and its deliveries filtered.'),
  }).describe('What a denial does.'),
  sessions: requiredSection({
    delegated: choice(['fresh', 'resume'])
      .prefault('fresh')
      .describe('Delegated agents: `fresh` Clean Start 1 and Session Expiry 0; `resume` as the client asks.'),
    unknownRelease: choice(['refuse', 'forward'])
      .prefault('refuse')
      .describe('A PUBREL whose PUBLISH this process did not judge: PUBCOMP 0x92, or forwarded.'),
    retainedExpiry: choice(['keep', 'token'])
      .prefault('keep')
      .describe(
        'Message Expiry of retained messages: as sent, or at most as long as the token is good. Of a retained Will, which counts from the end of the connection, what the token had left at CONNECT; a longer Will Delay Interval is cut to that too.',
      ),
    drain: duration('10s', '0s', '1h').describe('SIGTERM: sessions are ended spread over this time.'),
  }).describe('Sessions and their end.'),
  audit: auditSection,
  grants: grantsSchema,
  revocation: revocationSchema,
  store: storeSchema,
  admin: z
    .union(
      [
        z.literal('off'),
        z.literal(false),
        section({
          address: address('127.0.0.1:9464')
            .prefault('127.0.0.1:9464')
            .describe('Metrics and health, plain HTTP.'),
        }),
      ],
      { error: 'Write `off`, or a section with `address: 127.0.0.1:9464`.' },
    )
    .prefault({})
    .describe('`/metrics`, `/livez`, `/readyz`; `off` for none.'),
  limits: requiredSection({
    connections: count(10_000, 1, 1_000_000).describe('Connections at a time.'),
    unauthenticated: count(1000, 1, 1_000_000).describe(
      'Connections at a time that have not finished CONNECT, TLS handshakes among them.',
    ),
    connectTimeout: duration('5s', '10ms', '5m').describe('From accept to the complete CONNECT.'),
    connectBytes: size('16KiB', '128B', '1MiB').describe('Longest CONNECT, with token and Will.'),
    publishHeadBytes: size('64KiB', '16B', '1MiB').describe('Longest PUBLISH without its payload.'),
    controlPacketBytes: size('64KiB', '16B', '1MiB').describe('Longest packet of any other type.'),
    packetBytes: size(String(LARGEST_PACKET_BYTES), '1KiB', String(LARGEST_PACKET_BYTES)).describe(
      'Longest packet at all; the default is the protocol’s own maximum.',
    ),
    filtersPerPacket: count(256, 1, 65_535).describe('Topic Filters in one SUBSCRIBE or UNSUBSCRIBE.'),
    subscriptions: count(1000, 1, 1_000_000).describe('Subscriptions of one session.'),
    userProperties: count(256, 0, 65_535).describe('User Properties in one packet.'),
    topicAliases: count(64, 0, 65_535).describe('Topic Aliases per direction of one connection.'),
    failedTries: count(20, 1, 1_000_000).describe(
      'Refused CONNECTs per remote address, and per bearer of a token whose signature held, in the window.',
    ),
    failedTriesWindow: duration('60s', '1s', '24h').describe('The window of `failedTries`.'),
    failedTriesFrom: choice(['remote', 'any'])
      .prefault('remote')
      .describe(
        'Whose tries count by address: `remote` spares loopback and Unix sockets, which all agents of a host share.',
      ),
  }).describe('Bounds for what a peer may make Postern hold or do.'),
  log: requiredSection({
    level: choice(['debug', 'info', 'warn', 'error', 'silent'])
      .prefault('info')
      .describe('Least level that is logged.'),
  }).describe('The log of this process; not the audit trail.'),
})

/** A file that fits the schema: defaults filled in, durations in milliseconds, sizes in bytes. */
export type FileConfig = z.output<typeof configSchema>

/** One position of the JSON Schema, as far as this project uses it. */
export interface SchemaNode {
  type?: string | string[]
  description?: string
  default?: unknown
  enum?: unknown[]
  pattern?: string
  anyOf?: SchemaNode[]
  properties?: Record<string, SchemaNode>
  items?: SchemaNode
  required?: string[]
}

/** The file's JSON Schema (2020-12), for editors and docs/config.schema.json. */
export const configJsonSchema = z.toJSONSchema(configSchema, { io: 'input' }) as SchemaNode
