// The keys under `store`: what several replicas share.
import { z } from 'zod'
import type { Parsed } from './fields.ts'
import { choice, duration, field, section, text } from './schema-fields.ts'

export const storeSchema = z
  .union(
    [
      z.literal('off'),
      z.literal(false),
      section({
        url: text('the address of the server')
          .optional()
          .describe('Redis 7 or Valkey: `redis://host:6379/0`, or `rediss://` for TLS. Not a cluster.'),
        urlFile: text('a path')
          .optional()
          .describe('File with that address, password and all; in place of `url`.'),
        username: text('a user name').optional().describe('User Name (ACL) at the server.'),
        passwordFile: text('a path')
          .optional()
          .describe(
            'File with the password; read for every connection, one line break at its end is cut off.',
          ),
        tls: section({
          caFile: text('a path')
            .optional()
            .describe('Certificate authorities (PEM) that may vouch for the server.'),
          certFile: text('a path').optional().describe('Client certificate (PEM), with its chain.'),
          keyFile: text('a path').optional().describe('Its private key (PEM).'),
          serverName: text('a host name')
            .optional()
            .describe('Name that the certificate must have. Absent: the host of the address.'),
        })
          .optional()
          .describe('For `rediss://`; absent: the authorities that Node.js knows, no client certificate.'),
        prefix: field(
          (value): Parsed<string> =>
            typeof value === 'string' && /^[\x21-\x7e]{1,64}$/.test(value)
              ? { ok: true, value }
              : { ok: false, message: 'Write one to 64 characters without blanks, such as `postern:`.' },
          { type: 'string' },
        )
          .prefault('postern:')
          .describe('Before every key: replicas with the same one share.'),
        timeout: duration('1s', '10ms', '1m').describe('Longest wait for one answer.'),
        onFailure: choice(['deny', 'continue'])
          .prefault('deny')
          .describe(
            'Without contact: `deny` refuses CONNECTs, fresh tokens and grants, and is not ready; `continue` goes by what this replica knows, but takes no grants.',
          ),
      }),
    ],
    { error: 'Write `off`, or a section with `url: redis://…`.' },
  )
  .prefault('off')
  .describe('What replicas share: revocations, used grants, security events seen; `off` for one replica.')
