// The section `audit` of the configuration file.
import { choice, count, duration, flag, requiredSection, size, text } from './schema-fields.ts'

export const auditSection = requiredSection({
  file: text('the path of the audit log').describe(
    'The hash-chained audit log; appended to. `-`: standard output, where each start begins a chain of its own.',
  ),
  durability: choice(['async', 'write-ahead'])
    .prefault('async')
    .describe(
      '`async`: records are on disk within `flushInterval`. `write-ahead`: before what they allow leaves Postern.',
    ),
  onFailure: choice(['deny', 'continue'])
    .prefault('deny')
    .describe('While a record cannot be written: deny everything, or go on and count.'),
  flushInterval: duration('100ms', '1ms', '1m').describe('Records are on disk at the latest after this.'),
  maxPending: size('16MiB', '64KiB').describe('Unwritten bytes above which the log counts as failed.'),
  publishes: choice(['all', 'denied'])
    .prefault('all')
    .describe('A record for every PUBLISH, or only for those that were not forwarded.'),
  records: choice(['auto', 'short', 'full'])
    .prefault('auto')
    .describe(
      '`short`: PUBLISH packets like earlier ones have an entry each in a common record, an eighth of the bytes. `full`: each has a record with all that it says. `auto`: `full` where records are copied elsewhere, `short` else.',
    ),
  payloadDigest: choice(['sha256', 'hmac', 'none'])
    .prefault('sha256')
    .describe('Digest of payloads and Correlation Data in records; `hmac` needs `digestKeyFile`.'),
  subjects: choice(['plain', 'hmac'])
    .prefault('plain')
    .describe('How humans are named in records: as in the token, or by a keyed digest.'),
  digestKeyFile: text('a path')
    .optional()
    .describe(
      'File with the key of keyed digests, at least 32 bytes; `postern audit keygen --digest` makes one.',
    ),
  segments: requiredSection({
    maxBytes: size('64MiB', '64KiB').describe(
      'A file of this size is closed, compressed, and another one begun.',
    ),
    compression: choice(['zstd', 'gzip', 'none'])
      .prefault('zstd')
      .describe(
        'Of closed segments. Without Node 22.15 or newer `zstd` means `gzip`, which costs five times as much.',
      ),
    maxAge: duration('24h', '1s').describe('So is an older one.'),
    keep: count(0, 0, 1_000_000).describe('Closed segments that are kept; 0: all.'),
    keepFor: duration('0s', '0s', '87600h').describe(
      'Closed segments older than this are removed; `0s`: never.',
    ),
  }).describe('Rotation, compression and retention.'),
  repeats: requiredSection({
    rate: count(0, 0, 1_000_000).describe(
      'Identical actions of one session in a second that have a record each; further ones are counted. 0: all have one.',
    ),
    interval: duration('10s', '100ms', '1h').describe('A count becomes a record at the latest after this.'),
  }).describe('Counted records for identical actions (same session, action, topic and verdict) in a flood.'),
  checkpoints: requiredSection({
    keyFile: text('a path')
      .optional()
      .describe('Signing key, made by `postern audit keygen`. Absent: no checkpoints.'),
    records: count(10_000, 1, 100_000_000).describe(
      'A checkpoint is made after so many records (PUBLISH packets that share one count once),',
    ),
    interval: duration('1m', '1s', '24h').describe(
      'and after this time, when there are new records, and at exit.',
    ),
    stdout: flag(false).describe('Write them to standard output.'),
    url: text('an address').optional().describe('Send them there, by HTTP POST as `text/plain`.'),
    topic: text('a topic').optional().describe('Publish them to this topic of the broker.'),
  }).describe('Signed checkpoints of the log, which show a tail that was cut off.'),
  copies: requiredSection({
    stdout: flag(false).describe('Records to standard output too.'),
    otlp: text('an address').optional().describe('Records to this OTLP/HTTP logs endpoint too.'),
    syslog: text('an address')
      .optional()
      .describe(
        'Records to this syslog collector too: `udp://host:514`, `tcp://host:601` or `tls://host:6514`.',
      ),
    topic: text('a topic').optional().describe('Records to this topic of the broker too.'),
  }).describe('Other places that get every record once it is in the file, byte for byte.'),
}).describe('The audit trail.')
