// The keys that say where public keys are and which signatures count: of token issuers and of event transmitters.
import { z } from 'zod'
import { choice, duration, section, size, text } from './schema-fields.ts'

/** RFC 7518, RFC 8037, RFC 9864: asymmetric signatures only; a JWKS is public, so a MAC under it proves nothing. */
export const ALGORITHMS = [
  ...['ES256', 'ES384', 'ES512', 'Ed25519', 'EdDSA'],
  ...['PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512'],
] as const

const keySources = {
  url: text('the address of the key set')
    .optional()
    .describe('Key set by HTTPS; plain HTTP only on loopback.'),
  file: text('the path of the key set').optional().describe('Key set in a file, read again when it changes.'),
  timeout: duration('5s', '10ms', '5m').describe('One fetch of `url`, redirects refused.'),
  maxBytes: size('1MiB', '256B', '64MiB').describe('Largest key set that is read from `url`.'),
  cooldown: duration('30s').describe('An unknown `kid` causes at most one fetch in this time.'),
  cacheAge: duration('10m').describe('A set older than this is fetched again.'),
  staleAge: duration('1h').describe('While fetches fail, the last good set is used up to this age.'),
}

const place = (whose: string): string => `Where the keys of ${whose} are: \`url\` or \`file\`.`

export const jwksSchema = (whose: string) => section(keySources).prefault({}).describe(place(whose))

export const issuerJwksSchema = section({
  ...keySources,
  use: choice(['sig', 'jwt-svid'])
    .prefault('sig')
    .describe(
      'Which keys count: `sig` those for signatures; `jwt-svid` those so marked, of a SPIFFE bundle.',
    ),
})
  .prefault({})
  .describe(place('this issuer'))

export const algorithmsSchema = (preset: readonly (typeof ALGORITHMS)[number][]) =>
  z
    .array(
      z.enum(ALGORITHMS, {
        error: (issue) =>
          /^(none|hs\d+)$/i.test(String(issue.input))
            ? 'Remove it: unsigned tokens and shared-secret signatures are never accepted. Write `ES256` or `Ed25519`.'
            : `Write an asymmetric algorithm: ${ALGORITHMS.map((a) => `\`${a}\``).join(', ')}.`,
      }),
      { error: 'Write a list of algorithms, such as `[ES256, Ed25519]`.' },
    )
    .min(1, { error: 'Write at least one algorithm, such as `[ES256]`.' })
    .prefault([...preset])
    .describe('Accepted `alg` values.')
