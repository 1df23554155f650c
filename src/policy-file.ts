// Reads a policy from its file: what src/policy, which knows no I/O, makes of the text, or everything wrong with it.

import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { PosternError, type Problem } from './errors.ts'
import { loadPolicy } from './policy/document.ts'
import type { Policy } from './policy/policy.ts'

/** A policy file that cannot be used: `problems` says all that is wrong with it. */
export class PolicyError extends PosternError {
  readonly problems: readonly Problem[]
  constructor(file: string, problems: readonly Problem[]) {
    super('ERR_POLICY', 'internal', `${file} is not a usable policy`)
    this.problems = problems
  }
}

/**
 * @param read in place of the file system
 * @throws PolicyError; PosternError ERR_POLICY_FILE when it cannot be read
 */
export async function readPolicy(
  file: string,
  read: (path: string) => Promise<Buffer> = readFile,
): Promise<Policy> {
  const text = await read(file).catch((cause: Error) => {
    throw new PosternError('ERR_POLICY_FILE', 'internal', `cannot read the policy: ${cause.message}`, {
      cause,
    })
  })
  const loaded = loadPolicy(text.toString(), file, (canonical) => hash('sha256', canonical))
  if ('problems' in loaded) throw new PolicyError(file, loaded.problems)
  return loaded.policy
}
