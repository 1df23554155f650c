// Reads a page of docs/: its sections, fenced blocks and tables. And asks an Acl what a page asks, in the words of
// `postern explain`.
import { readFileSync } from 'node:fs'
import type { Acl } from '../../src/policy/acl.ts'
import { publish, subscribe } from '../support/permission.ts'

export class Page {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  static read(file: string): Page {
    return new Page(readFileSync(file, 'utf8'))
  }

  /** From the heading to the next one of its level or above. */
  section(heading: string): Page {
    const level = /^#+/.exec(heading)![0].length
    const [, after] = this.text.split(`\n${heading}\n`)
    if (after === undefined) throw new Error(`no section ${heading}`)
    return new Page(after.split(new RegExp(`^#{1,${level}} `, 'm'))[0]!)
  }

  /** The fenced blocks of these languages, in order. */
  blocks(...languages: string[]): string[] {
    const found = [...this.text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    return found.filter(([, language]) => languages.includes(language!)).map(([, , block]) => block!)
  }

  /** The rows of the table whose first columns these are. */
  table(...columns: string[]): string[][] {
    const [, after] = this.text.split(`| ${columns.join(' | ')} |`)
    if (after === undefined) throw new Error(`no table of ${columns.join(', ')}`)
    const lines = after.split('\n').slice(2)
    const end = lines.findIndex((line) => !line.startsWith('|'))
    const rows = lines.slice(0, end < 0 ? lines.length : end).map(cellsOf)
    if (rows.length === 0) throw new Error(`no rows under ${columns.join(', ')}`)
    return rows
  }
}

/** What stands in backticks. */
export function codes(cell: string): string[] {
  return [...cell.matchAll(/`([^`]*)`/g)].map(([, code]) => code!)
}

/** As a cell shows it: the name of the verdict, and the QoS if less than was asked for is granted. */
export function answer(acl: Acl, asked: string): string {
  const [action, topic, ...options] = asked.split(' ')
  const after = (name: string) => (options.includes(name) ? options[options.indexOf(name) + 1] : undefined)
  const qos = Number(after('--qos') ?? 0)
  if (action === 'subscribe') {
    const granted = subscribe(acl, topic!, qos)
    if (typeof granted === 'string') return `\`${granted}\``
    return granted === qos ? '`allow`' : `\`allow\`, QoS ${granted}`
  }
  const response = after('--response-topic')
  const verdict = publish(acl, topic!, {
    qos,
    retain: options.includes('--retain'),
    payload: Number(after('--size') ?? 0),
    ...(response === undefined ? {} : { response }),
  })
  return `\`${verdict}\``
}

function cellsOf(line: string): string[] {
  return line
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim())
}
