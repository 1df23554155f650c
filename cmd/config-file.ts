// Reads a configuration for the commands that need one, and says what is wrong with it.

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Config } from '../src/config/config.ts'
import { loadConfig } from '../src/config/load.ts'
import type { Problem } from '../src/errors.ts'
import { EXIT } from './exit.ts'

/** One problem as a line: `file:line path: sentence`. */
export function problemLine(problem: Problem): string {
  const place = problem.line === undefined ? problem.file : `${problem.file}:${problem.line}`
  return problem.path === ''
    ? `${place}: ${problem.message}`
    : `${place}: ${problem.path}: ${problem.message}`
}

export function printProblems(problems: readonly Problem[]): void {
  for (const problem of problems) console.error(problemLine(problem))
}

/**
 * The configuration, or undefined after every problem was printed and exit code 64 set.
 *
 * @param readFile reads the secrets that the configuration names, by absolute path
 */
export function readConfig(
  file: string,
  readFile?: (path: string) => string,
): { config: Config; warnings: Problem[] } | undefined {
  const path = resolve(file)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    console.error(`postern: cannot read the configuration ${file}: ${(error as Error).message}`)
    process.exitCode = EXIT.USAGE
    return undefined
  }
  const loaded = loadConfig(text, path, process.env, readFile)
  if ('config' in loaded) return loaded
  const { length } = loaded.problems
  console.error(
    `postern: ${length} ${length === 1 ? 'problem' : 'problems'} in the configuration, nothing was started`,
  )
  printProblems(loaded.problems)
  process.exitCode = EXIT.USAGE
  return undefined
}
