import { writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { csvHeader, csvRow, table } from '../../src/evidence/listing.ts'
import { linesOf } from '../../src/evidence/log-files.ts'
import { parseTopic, type Selection, select } from '../../src/evidence/selection.ts'
import { newLogPath } from '../audit/log-kit.ts'
import { HOSTILE, story, storyLines } from './records.ts'

async function selected(selection: Selection): Promise<number[]> {
  const path = newLogPath()
  writeFileSync(path, `${storyLines().join('\n')}\nnot a record\n{"a":1}\n`)
  const found: number[] = []
  for await (const record of select([{ worker: '', files: [path] }], selection)) found.push(record.seq)
  return found
}

const topic = (text: string): Selection => ({
  topic: parseTopic(text) as Exclude<Selection['topic'], undefined>,
})

describe('AUD-14 questions', () => {
  it.each<[string, Selection, number[]]>([
    ['everything', {}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
    ['all actions of all agents of a human', { human: ['alice'] }, [2, 3, 4, 5, 6, 10]],
    ['a human by subject', { human: ['user-bob'] }, [7, 8]],
    ['nobody of part of a name', { human: ['ali'] }, []],
    ['an agent', { agent: 'analyst' }, [5, 6]],
    ['an agent by subject', { agent: 'agent-pump' }, [7, 8]],
    ['a decision', { decision: 'deny' }, [4, 6, 8, 9, 11]],
    ['an action', { action: 'connect' }, [2, 9]],
    ['a topic', topic('plant/a/valve'), [3, 5]],
    ['a filter with one level open, and subscriptions that overlap it', topic('plant/+/valve'), [3, 4, 5]],
    ['a filter with all below open', topic('plant/#'), [3, 4, 5, 7]],
    ['a filter that nothing fits', topic('plant'), []],
    ['a time', { sinceMs: Date.UTC(2026, 10, 22, 12, 0, 9) }, [7, 10, 11]],
    ['a time that a counted record reaches into', { sinceMs: Date.UTC(2026, 10, 22, 12, 0, 15) }, [7]],
    ['a time before', { untilMs: Date.UTC(2026, 10, 22, 12, 0, 2) }, [1, 2]],
    [
      'all of it at once',
      { human: ['alice'], decision: 'deny', action: 'publish', ...topic('plant/#') },
      [4],
    ],
  ])('finds %s', async (_, selection, expected) => {
    expect(await selected(selection)).toEqual(expected)
  })

  it('refuses what is no Topic Filter', () => {
    expect(parseTopic('a/#/b')).toEqual(expect.any(String))
  })
})

describe('rows', () => {
  it('a table has a line for each record and no marks for the terminal', () => {
    const lines = table(story())
    expect(lines).toHaveLength(12)
    expect(lines[0]).toMatch(/^TIME +DECISION +HUMAN +AGENT +ACTION +TOPIC +COUNT +REASON +RULES +EFFECT$/)
    expect(lines.join('\n')).not.toContain('\u001b')
    expect(lines[3]).toContain('agent: valves, user: may')
    expect(table([])).toEqual([])
  })

  it('CSV is read back as it was, and no cell is a formula', () => {
    const rows = [csvHeader(), ...story().map(csvRow)].map(parseCsv)
    expect(new Set(rows.map((row) => row.length))).toEqual(new Set([23]))
    expect(rows[8]![5]).toBe(HOSTILE)
    const row = csvRow({ ...story()[2]!, resource: { topic: '=HYPERLINK("x")' } })
    expect(parseCsv(row)[5]).toBe(`'=HYPERLINK("x")`)
  })
})

/** RFC 4180, one record. */
function parseCsv(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) =>
    quoted === undefined ? plain! : quoted.replaceAll('""', '"'),
  )
}

it('lines are those between newlines, also across pieces, and a last one without', async () => {
  const path = newLogPath()
  const long = 'x'.repeat(300_000)
  writeFileSync(path, `a\u2028b\n\n${long}\nlast`)
  const lines: string[] = []
  for await (const line of linesOf(path)) lines.push(line.toString())
  expect(lines).toEqual(['a\u2028b', '', long, 'last'])
})
