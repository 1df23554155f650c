import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { auditCommand } from '../../cmd/audit.ts'
import { checkCommand } from '../../cmd/check.ts'
import { explainCommand } from '../../cmd/explain.ts'
import { runCommand } from '../../cmd/run.ts'
import { stsCommand } from '../../cmd/sts.ts'
import { tokenCommand } from '../../cmd/token.ts'
import { postern } from './child.ts'

const COMMANDS = [
  runCommand(),
  checkCommand(),
  explainCommand(),
  auditCommand(),
  stsCommand(),
  tokenCommand(),
]
const ALL = COMMANDS.flatMap((command) => [command, ...command.commands])

function nameOf(command: Command): string {
  const parent = command.parent === null ? '' : `${command.parent.name()} `
  return `${parent}${command.name()}`
}

function helpOf(command: Command): string {
  let text = ''
  command.configureOutput({
    writeOut: (part) => {
      text += part
    },
  })
  command.outputHelp()
  return text
}

describe('--help', () => {
  it.each(ALL.map((command) => [nameOf(command), command] as const))(
    '%s: usage, exit codes, an example that names the command',
    (name, command) => {
      const help = helpOf(command)
      const [usage, examples] = help.split(/^Examples?:$/m)
      expect(usage).toContain('Usage:')
      expect(examples).toContain(`postern ${name.split(' ')[0]} `)
      for (const word of name.split(' ')) expect(examples).toMatch(new RegExp(`postern .*\\b${word}\\b`))
      if (command.commands.length === 0) expect(help).toContain('Exit codes')
    },
  )

  it('every example of a command uses options that the command has', () => {
    for (const command of ALL) {
      const known = new Set(ALL.flatMap(({ options }) => options.flatMap((o) => [o.short, o.long])))
      const examples = helpOf(command).split(/^Examples?:$/m)[1]!
      const lines = examples.split('\n').filter((line) => /^\s+(\$ )?postern /.test(line))
      expect(lines.length).toBeGreaterThan(0)
      const used = lines.flatMap((line) => line.match(/(?<=\s)--?[a-z][a-z-]*/g) ?? [])
      expect(used.filter((option) => !known.has(option))).toEqual([])
    }
  })

  it.each([[['--help']], [['explain', 'publish', '--help']]])(
    'is on standard output with exit code 0: %j',
    async (args) => {
      const { status, stdout, stderr } = await postern(args)
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      expect(stdout).toContain('Usage: postern')
    },
  )
})

it('--version prints the version alone', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
  expect(await postern(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' })
})

describe('wrong usage exits 64 with a sentence and a hint', () => {
  it.each([
    [['rum'], 'Did you mean run?'],
    [['explain', '-c', 'x', '-t', 'y', 'publish'], "missing required argument 'topic'"],
    [['check', '--config', 'x', '--stricct'], 'Did you mean --strict?'],
    [['run'], "required option '-c, --config <file>'"],
    [['token', 'sign', '--keys', 'nowhere'], 'name the subject: --agent'],
  ])('%j', async (args, sentence) => {
    const { status, stdout, stderr } = await postern(args)
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' })
    expect(stderr).toContain(sentence)
    expect(stderr).toContain('(add --help for the options and examples)')
    expect(stderr).not.toContain('    at ')
  })
})
