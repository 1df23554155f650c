// Arguments that several audit commands share, and what they say when one is wrong.

import { existsSync, readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { readDigestKey } from '../../src/audit/checkpoint-file.ts'
import { pseudonym } from '../../src/audit/digest.ts'
import { AUDIT_ACTIONS, type AuditAction } from '../../src/audit/event.ts'
import {
  type NoteVerifier,
  type OpenedCheckpoint,
  openCheckpoint,
  parseVerifier,
  splitNotes,
} from '../../src/audit/signed-note.ts'
import { PosternError } from '../../src/errors.ts'
import { parseTopic, type Selection } from '../../src/evidence/selection.ts'
import { EXIT } from '../exit.ts'

/** A file that a command was given cannot be read. */
export const EXIT_UNREADABLE = 2

export interface SelectionOptions {
  human?: string
  agent?: string
  topic?: Selection['topic']
  decision?: 'allow' | 'deny'
  action?: AuditAction
  since?: number
  until?: number
  digestKey?: string
  issuer?: string
}

/** `--human` to `--until`. */
export function addSelection(command: Command): Command {
  return command
    .option('--human <id>', 'actions of all agents for this human (`id` or `sub`)')
    .option('--agent <id>', 'actions of this agent (`id` or `sub`)')
    .option('--topic <filter>', 'topics that this MQTT Topic Filter matches', parseFilter)
    .addOption(new Option('--decision <decision>', 'only these').choices(['allow', 'deny']))
    .addOption(new Option('--action <action>', 'only these').choices(AUDIT_ACTIONS))
    .option(
      '--since <time>',
      'from this time on: 2026-03-01, 2026-03-01T12:00Z, or 90m, 24h, 7d ago',
      parseTime,
    )
    .option('--until <time>', 'before this time, in the same forms', parseTime)
    .option('--digest-key <file>', 'for a log with `subjects: hmac`: the key, to find the human by name')
    .option('--issuer <iss>', 'with --digest-key: issuer of the human')
}

export function selectionOf(options: SelectionOptions): Selection {
  const { human, agent, topic, decision, action, since, until, digestKey, issuer } = options
  const names = human === undefined ? undefined : [human]
  if (names !== undefined && digestKey !== undefined) {
    if (issuer === undefined) usage('--digest-key needs --issuer.')
    names.push(pseudonym(readDigestKey(digestKey), issuer, human!))
  }
  if (since !== undefined && until !== undefined && since >= until) {
    usage('The range is empty: --since must be before --until.')
  }
  return { human: names, agent, topic, decision, action, sinceMs: since, untilMs: until }
}

function parseFilter(text: string): Selection['topic'] {
  const filter = parseTopic(text)
  if (typeof filter === 'string') throw new InvalidArgumentError(`That is no Topic Filter: ${filter}.`)
  return filter
}

const UNITS = new Map([
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

function parseTime(text: string): number {
  const ago = /^(\d{1,6})([mhd])$/.exec(text)
  if (ago !== null) return Date.now() - Number(ago[1]) * UNITS.get(ago[2]!)!
  // A time without a zone is UTC, as in the log.
  const ms = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?$/.test(text)
    ? Date.parse(
        text.length > 10 && !text.endsWith('Z') ? `${text.replace(' ', 'T')}Z` : text.replace(' ', 'T'),
      )
    : Number.NaN
  if (Number.isNaN(ms)) throw new InvalidArgumentError('Write 2026-03-01, 2026-03-01T12:00Z, 90m, 24h or 7d.')
  return ms
}

/** Verification keys, each given as text or as the path of a file with one in a line. */
export function parseKeys(texts: readonly string[]): NoteVerifier[] {
  return texts.flatMap((text) => {
    const lines = existsSync(text) ? readText(text).split('\n') : [text]
    return lines
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .map((line) => {
        const verifier = parseVerifier(line)
        if (verifier === undefined) {
          usage('--key wants a verification key, `name+hex+base64`, or a file with such lines.')
        }
        return verifier
      })
  })
}

/** What goes wrong names the file: of its own accord Node.js does so only where it cannot be opened. */
function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw Object.assign(error as NodeJS.ErrnoException, { path: file })
  }
}

/** Every note of the file: as notes, or as JSON lines `{"checkpoint":"…"}`. */
export function readNotes(file: string): string[] {
  const text = readText(file)
  if (!text.startsWith('{')) return splitNotes(text)
  return text
    .split('\n')
    .filter((line) => line.startsWith('{"checkpoint":'))
    .map((line) => (JSON.parse(line) as { checkpoint: string }).checkpoint)
}

/** @returns the checkpoints, or what is wrong with the first that is not good, as a sentence */
export function readCheckpoints(file: string, keys: readonly NoteVerifier[]): OpenedCheckpoint[] | string {
  const notes = readNotes(file)
  if (notes.length === 0) return 'There is no checkpoint in it.'
  const opened = notes.map((note) => openCheckpoint(note, keys))
  return opened.find((one) => typeof one === 'string') ?? (opened as OpenedCheckpoint[])
}

/** Ends the command: what it was given makes no sense. */
export function usage(message: string): never {
  process.stderr.write(`error: ${message}\n`)
  process.exit(EXIT.USAGE)
}

/** Entries of batches whose records cannot be put together: said once, with their number. */
export class LeftOut {
  #entries = 0

  readonly add = (entries: number): void => {
    this.#entries += entries
  }

  tell(): void {
    if (this.#entries > 0) {
      process.stderr.write(`${this.#entries} more left out, like records that are not here\n`)
    }
    this.#entries = 0
  }
}

export function collect(value: string, list: readonly string[] = []): string[] {
  return [...list, value]
}

export function unreadable(file: string, error: unknown): number {
  const { code, message } = error as NodeJS.ErrnoException
  const isSentence = error instanceof PosternError
  process.stderr.write(isSentence ? `${message}\n` : `${file} cannot be read: ${code ?? message}\n`)
  return EXIT_UNREADABLE
}
