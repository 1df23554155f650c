import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ReportPage } from '../../src/evidence/report-page.ts'
import { newDirectory } from '../audit/log-kit.ts'
import { dumpDom, findChromium, screenshot } from '../support/chromium.ts'
import { HOSTILE, story } from './records.ts'

const CHAIN = [{ ok: true, text: 'audit.jsonl: records 1 to 11 follow one another' }]
const FACTS = {
  files: ['audit.jsonl'],
  sinceMs: undefined,
  untilMs: undefined,
  madeMs: Date.UTC(2026, 10, 23),
  chain: CHAIN,
}

function pageOf(records = story(), facts: Partial<typeof FACTS> = {}): string {
  const page = new ReportPage()
  for (const record of records) page.add(record)
  return page.html({ ...FACTS, ...facts })
}

describe('the report', () => {
  it('loads nothing from anywhere and runs nothing', () => {
    const html = pageOf()
    expect(html).not.toMatch(/<script|<link|<img|<iframe|src=|url\(|@import|javascript:|\son\w+=/i)
    expect(html).toContain(`default-src 'none'`)
    expect(html).not.toContain(HOSTILE)
  })

  it('says when the log is not whole', () => {
    const html = pageOf(story(), { chain: [...CHAIN, { ok: false, text: 'line 3: changed' }] })
    expect(html).toContain('The log is not whole')
    expect(html).toContain('line 3: changed')
  })

  it('of nothing says so', () => {
    expect(pageOf([])).toContain('No actions')
  })
})

const chromium = findChromium()

describe.runIf(chromium !== undefined)('the report in a real browser', () => {
  it('shows who acted for whom, denials by rule, the timeline and the chain, and hostile text as text', async () => {
    const file = join(newDirectory(), 'report.html')
    writeFileSync(file, pageOf())
    const url = pathToFileURL(file).href
    const dom = await dumpDom(chromium!, url)
    const textOf = (id: string) =>
      new RegExp(`<section id="${id}".*?</section>`, 's')
        .exec(dom)![0]
        .replace(/<[^>]*>/g, ' ')
        .replace(/\s+/g, ' ')
    expect(textOf('people')).toMatch(/alice scout 3 1 plant\/a\/valve/)
    expect(textOf('people')).toMatch(/bob owner pump 500 1/)
    expect(textOf('denials')).toMatch(/no_rule agent: none publish 2/)
    expect(textOf('denials')).toMatch(/expired – connect 1/)
    expect(textOf('chain')).toContain('✓ The log is whole')
    expect(textOf('chain')).toContain('3 record(s) lost')
    expect(dom.match(/<rect /g)!.length).toBeGreaterThan(5)
    expect(dom).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
    expect(dom).not.toContain('<script')
    const picture = process.env['POSTERN_TEST_SCREENSHOT'] ?? join(newDirectory(), 'report.png')
    await screenshot(chromium!, url, picture)
    expect(existsSync(picture) && statSync(picture).size).toBeGreaterThan(10_000)
  })
})
