// The keys under `revocation`: who can cut whom off, and what is kept of it.
import { z } from 'zod'
import type { Parsed } from './fields.ts'
import { algorithmsSchema, jwksSchema } from './keys-schema.ts'
import { choice, duration, field, flag, section, size, text, texts } from './schema-fields.ts'

const stream = section({
  name: field(
    (value): Parsed<string> =>
      typeof value === 'string' && /^[a-z0-9][a-z0-9-]{0,31}$/.test(value)
        ? { ok: true, value }
        : { ok: false, message: 'Write a name of lower-case letters, digits and `-`, such as `idp`.' },
    { type: 'string' },
  ).describe('Names the stream in `/events/{name}`, metrics and messages.'),
  issuer: text('the issuer of the events').describe('Exact value of the `iss` claim of its SETs.'),
  audience: texts('the audience of its SETs').describe('The `aud` of its SETs must contain one of these.'),
  jwks: jwksSchema('the transmitter'),
  algorithms: algorithmsSchema(['RS256', 'ES256']),
  maxBytes: size('64KiB', '1KiB', '1MiB').describe('Longest SET.'),
  secretFile: text('a path').describe(
    'Bearer secret that a pushing transmitter sends, or that the polled one is shown.',
  ),
  poll: section({
    url: text('the address of the transmitter').describe('Polled by HTTPS; plain HTTP only on loopback.'),
    interval: duration('5s', '100ms', '1h').describe('Between two polls when nothing more is there.'),
    timeout: duration('10s', '10ms', '5m').describe('One poll.'),
  })
    .optional()
    .describe('Poll delivery (RFC 8936). Absent: the transmitter pushes (RFC 8935).'),
  silence: duration('1h', '1s', '8760h').describe('Without a sign of life for longer than this: not ready.'),
  onSilence: choice(['continue', 'deny'])
    .prefault('continue')
    .describe('Then: go on, or refuse CONNECTs and fresh tokens until it speaks.'),
  opaque: flag(false).describe('`opaque` subjects are the `sub` of `issuer`.'),
  email: flag(false).describe(
    '`email` subjects are compared with the attribute `email`; map it from a verified claim only.',
  ),
  criticalMembers: z
    .array(text('a member name'), { error: 'Write a list of member names, or `[]`.' })
    .prefault(['device', 'session', 'org_unit', 'group'])
    .describe('Members of complex subjects without which an event is not understood, and discarded.'),
  onRisk: choice(['ignore', 'revoke'])
    .prefault('ignore')
    .describe('High risk, a device out of compliance, lower assurance: nothing, or cut.'),
})

export const revocationSchema = z
  .union(
    [
      z.literal('off'),
      z.literal(false),
      section({
        file: text('a path').describe(
          'What is revoked or disabled, kept over a restart; one process per file.',
        ),
        secretFile: text('a path')
          .optional()
          .describe('Bearer secret of `POST /revocations` on the admin listener; absent: no such call.'),
        listFile: text('a path')
          .optional()
          .describe(
            'JSON list of subjects that are kept out while they stand in it; read again when it changes.',
          ),
        margin: duration('0s', '0s', '5m').describe(
          'Tokens issued up to this long after a revocation are refused too: for issuers whose clock is ahead.',
        ),
        will: choice(['suppress', 'publish'])
          .prefault('suppress')
          .describe(
            'A cut agent’s Will: `suppress` it is not sent and the session goes; `publish` it is sent.',
          ),
        events: z
          .array(stream, { error: 'Write a list of event streams, or `[]`.' })
          .prefault([])
          .describe('Security events (SSF 1.0, CAEP 1.0, RISC 1.0).'),
      }),
    ],
    { error: 'Write `off`, or a section with `file: revocations.jsonl`.' },
  )
  .prefault('off')
  .describe('Cutting live connections and keeping their identities out; `off` for none.')
