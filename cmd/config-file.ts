// Reads a configuration and the files that it names, for the commands that need them, and says what is wrong with them.

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { systemClock } from '../src/clock.ts'
import type { Config } from '../src/config/config.ts'
import { type LoadResult, loadConfig, type NamedFiles } from '../src/config/load.ts'
import { PosternError, type Problem } from '../src/errors.ts'
import { FileKeys } from '../src/identity/file-keys.ts'
import { PolicyError, readPolicy } from '../src/policy-file.ts'
import { EXIT } from './exit.ts'

/** One problem as a line: `file:line path: sentence`. */
export function problemLine(problem: Problem): string {
  const place = problem.line === undefined ? problem.file : `${problem.file}:${problem.line}`
  return problem.path === ''
    ? `${place}: ${problem.message}`
    : `${place}: ${problem.path}: ${problem.message}`
}

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

/** Prints all problems and what follows from them, and sets exit code 64. */
export function refuse(problems: readonly Problem[], consequence: string): void {
  console.error(`postern: ${count(problems.length, 'problem')}, ${consequence}`)
  for (const problem of problems) console.error(problemLine(problem))
  process.exitCode = EXIT.USAGE
}

/**
 * The configuration, or undefined after everything wrong with it and its files was told and exit code 64 set.
 *
 * @param readFile reads the secrets that it names, by absolute path
 */
export async function readConfig(
  file: string,
  consequence: string,
  readFile?: (path: string) => string,
): Promise<{ config: Config; warnings: Problem[] } | undefined> {
  const loaded = loadFile(file, readFile)
  if (loaded === undefined || 'config' in loaded) return loaded
  refuse([...loaded.problems, ...(await problemsIn(loaded.files))], consequence)
  return undefined
}

/** As readConfig, without a word about problems; undefined when the file itself cannot be read. */
export function loadFile(file: string, readFile?: (path: string) => string): LoadResult | undefined {
  const read = readText(file)
  return read && loadConfig(read.text, read.path, process.env, readFile)
}

/** The text of a configuration, and its absolute path; undefined after it was told why not and exit code 64 set. */
export function readText(file: string): { text: string; path: string } | undefined {
  const path = resolve(file)
  try {
    return { text: readFileSync(path, 'utf8'), path }
  } catch (error) {
    console.error(`postern: cannot read the configuration ${file}: ${(error as Error).message}`)
    process.exitCode = EXIT.USAGE
    return undefined
  }
}

/** What is wrong with the policy and the key files of a configuration. */
export async function problemsIn(files: NamedFiles): Promise<Problem[]> {
  const found: Problem[] = []
  const attempt = async (file: string, read: () => Promise<unknown>): Promise<void> => {
    try {
      await read()
    } catch (error) {
      if (error instanceof PolicyError) found.push(...error.problems)
      else if (error instanceof PosternError) found.push({ file, path: '', message: error.message })
      else throw error
    }
  }
  const { policy, keys } = files
  if (policy !== undefined) await attempt(policy, () => readPolicy(policy))
  for (const source of keys) await attempt(source.path, () => new FileKeys(source, systemClock).load())
  return found
}

export function filesOf(config: Config): NamedFiles {
  return {
    policy: config.policy.file,
    keys: [...config.issuers, ...(config.grants?.issuers ?? [])].flatMap(
      ({ jwks: { file, maxBytes, use }, algorithms }) =>
        file === undefined ? [] : [{ path: file, algorithms, maxBytes, use }],
    ),
  }
}
