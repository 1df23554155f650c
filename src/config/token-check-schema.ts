// The keys of an issuer that say who else is asked about its tokens.
import { z } from 'zod'
import { choice, duration, flag, section, size, text, texts } from './schema-fields.ts'

export const statusListSchema = z
  .union(
    [
      z.literal('off'),
      z.literal(false),
      section({
        draft: choice(['draft-ietf-oauth-status-list-21']).describe('The draft that the lists follow.'),
        uris: texts('how the addresses of the lists begin').describe(
          'How the addresses of its lists begin, such as `https://id.example/status/`, up to a `/`. A token that names any other is refused.',
        ),
        required: flag(true).describe('Refuse a token without `status.status_list`.'),
        maxAge: duration('1m', '1s', '24h').describe(
          'Tokens in use are looked up, and their lists fetched, again after this, or after the list’s own `ttl` if that is shorter.',
        ),
        timeout: duration('5s', '10ms', '5m').describe('One fetch, redirects refused.'),
        maxBytes: size('1MiB', '256B', '64MiB').describe('Longest list as it is sent.'),
        maxListBytes: size('16MiB', '1KiB', '256MiB').describe('Longest list once decompressed.'),
      }),
    ],
    { error: 'Write `off`, or a section with `draft` and `uris`.' },
  )
  .prefault('off')
  .describe('Token status lists (a draft); `off` for none.')

export const introspectionSchema = z
  .union(
    [
      z.literal('off'),
      z.literal(false),
      section({
        url: text('the introspection endpoint').describe('By HTTPS; plain HTTP only on loopback.'),
        clientId: text('the client id of this proxy').describe(
          'As whom Postern asks (`client_secret_basic`).',
        ),
        secretFile: text('a path').describe(
          'File with its secret, read at each request; one line break at its end is cut off.',
        ),
        cache: duration('30s', '1s', '5m').describe(
          'An answer counts so long, and tokens in use are asked about again after it.',
        ),
        timeout: duration('5s', '10ms', '5m').describe('One request, redirects refused.'),
      }),
    ],
    { error: 'Write `off`, or a section with `url`, `clientId` and `secretFile`.' },
  )
  .prefault('off')
  .describe('Token introspection (RFC 7662) besides all other checks; `off` for none.')
