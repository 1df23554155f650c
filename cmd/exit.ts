// How commands end: exit codes, and errors as sentences.

import { PosternError } from '../src/errors.ts'

/** Exit codes of every subcommand; 64 is EX_USAGE of sysexits.h. */
export const EXIT = { OK: 0, FAILED: 1, USAGE: 64 } as const

/** The message, with the code under which docs/errors.md says more. */
export function sentenceOf(error: unknown): string {
  if (error instanceof PosternError) return `${error.message} (${error.code})`
  return error instanceof Error ? error.message : String(error)
}
