// The keys under `revocation`: who can cut whom off, and what is kept of it.
import { z } from 'zod'
import { choice, duration, section, text } from './schema-fields.ts'

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
      }),
    ],
    { error: 'Write `off`, or a section with `file: revocations.jsonl`.' },
  )
  .prefault('off')
  .describe('Cutting live connections and keeping their identities out; `off` for none.')
