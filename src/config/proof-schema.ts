// The keys under `proof`: how a client shows that it holds the key of its token.
import { algorithmsSchema } from './keys-schema.ts'
import { choice, duration, flag, requiredSection, text } from './schema-fields.ts'

export const proofSchema = requiredSection({
  dpop: choice(['off', 'draft-nandakumar-moq-generic-dpop-proof-00'])
    .prefault('off')
    .describe('Challenge for tokens with `cnf.jkt`: the draft that proofs follow, or `off`.'),
  method: text('a method name')
    .prefault('POSTERN-DPOP')
    .describe('Authentication Method with which tokens with `cnf.jkt` are taken.'),
  ace: flag(false).describe(
    'Authentication Method `ace` of RFC 9431, for tokens with `cnf.jwk` (Ed25519) or `cnf.jwe` (HS256).',
  ),
  aceKeysFile: text('a path')
    .optional()
    .describe(
      'JWK Set of the keys that a `cnf.jwe` is encrypted to, each with its `alg`; read again when it changes. Absent: `cnf.jwe` is refused.',
    ),
  timeout: duration('5s', '10ms', '5m').describe('For the answer to the challenge.'),
  window: duration('30s', '1s', '5m').describe('How far `iat` of a proof may be from now.'),
  algorithms: algorithmsSchema(['ES256', 'Ed25519']),
}).describe('Proof that a client holds the key of its token.')
