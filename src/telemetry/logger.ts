// The operator's log: one JSON line per event on standard error. The only file that imports pino. Whatever a caller
// hands in, a compact JWT never comes out (AUD-03 holds for logs too).

import { writeSync } from 'node:fs'
import { pino } from 'pino'
import type { Clock } from '../clock.ts'

export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  /** A logger that adds these fields to each of its lines. */
  child(fields: object): Logger
}

export interface LoggerOptions {
  level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  clock: Clock
  /** Where lines go; default standard error. */
  write?: (line: string) => void
}

/** The second line of defence: callers do not log secrets, and if one does, this hides it. */
const SECRET_FIELDS = ['password', 'token', 'authorization', '*.password', '*.token', '*.authorization']
/** RFC 7519 compact form: a base64url JSON object, then two more parts (the signature may be empty). */
const COMPACT_JWT = /eyJ[\w-]+\.[\w-]+\.[\w-]*/g

/** `fields.err` may be an Error: it is written with type, message, stack and cause. */
export function createLogger(options: LoggerOptions): Logger {
  const { clock, write = writeToStandardError } = options
  return pino(
    {
      level: options.level,
      // Neither pid nor host: the place that collects the lines knows where they are from.
      base: null,
      timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
      redact: { paths: SECRET_FIELDS, censor: '[redacted]' },
    },
    { write: (line) => write(line.replace(COMPACT_JWT, '[redacted]')) },
  )
}

/**
 * A line that cannot be written is lost: a full disk under the log must not end, or hold up, what it tells of, as the
 * destinations of pino would.
 */
function writeToStandardError(line: string): void {
  const bytes = Buffer.from(line)
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(2, bytes, at)
  } catch {
    // There is no other place to tell it.
  }
}
