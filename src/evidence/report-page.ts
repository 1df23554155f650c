// One page in HTML about a period: who acted for whom, what was denied and why, when, and whether the log is whole. It
// loads nothing and runs nothing: no script, no font, no image from elsewhere.

import { printable } from '../audit/format.ts'
import type { AuditRecord } from '../audit/record.ts'
import { actionsIn } from './selection.ts'
import { type TimelineColumn, timeline } from './timeline.ts'

export interface ReportFacts {
  /** Names of the files that were read. */
  files: readonly string[]
  sinceMs: number | undefined
  untilMs: number | undefined
  /** When the page was made. */
  madeMs: number
  /** One sentence for each file or checkpoint, and whether it is good news. */
  chain: readonly { ok: boolean; text: string }[]
}

interface Pair {
  human: string
  via: string
  agent: string
  allowed: number
  denied: number
  topics: Set<string>
  firstMs: number
  lastMs: number
}

/** Rows of a table; the rest is counted. */
const MOST_ROWS = 200
const COLUMNS = 60
const NOBODY = '–'
const NOT_AUTHENTICATED = 'not authenticated'

/** Takes the records of the period, in order, then writes the page. */
export class ReportPage {
  readonly #pairs = new Map<string, Pair>()
  readonly #denials = new Map<
    string,
    { reason: string; rules: string; action: string; count: number; example: string }
  >()
  readonly #moments: { ms: number; decision: 'allow' | 'deny'; count: number }[] = []
  readonly #gaps: string[] = []
  #records = 0
  #allowed = 0
  #denied = 0

  add(record: AuditRecord): void {
    this.#records += 1
    if (record.action === 'gap') this.#gaps.push(gapText(record))
    if (record.connection === undefined) return
    const count = actionsIn(record)
    if (record.decision === 'allow') this.#allowed += count
    else this.#denied += count
    const ms = Date.parse(record.time)
    this.#moments.push({ ms, decision: record.decision, count })
    this.#pair(record, ms, count)
    if (record.decision === 'deny') this.#denial(record, count)
  }

  #pair(record: AuditRecord, ms: number, count: number): void {
    const { identity } = record
    const human = identity?.human?.id ?? NOBODY
    const agent = identity?.agent?.id ?? NOT_AUTHENTICATED
    const key = JSON.stringify([human, identity?.human?.iss, agent])
    let pair = this.#pairs.get(key)
    if (pair === undefined) {
      const via = identity?.human?.via ?? ''
      pair = { human, via, agent, allowed: 0, denied: 0, topics: new Set(), firstMs: ms, lastMs: ms }
      this.#pairs.set(key, pair)
    }
    if (record.decision === 'allow') pair.allowed += count
    else pair.denied += count
    const place = record.resource?.topic ?? record.resource?.filter
    if (place !== undefined && pair.topics.size < MOST_ROWS) pair.topics.add(place)
    pair.lastMs = ms
  }

  #denial({ reason, rules, action, resource, connection }: AuditRecord, count: number): void {
    const named = Object.entries(rules ?? {})
      .map(([layer, rule]) => `${layer}: ${rule}`)
      .join(', ')
    const key = JSON.stringify([reason, named, action])
    const found = this.#denials.get(key)
    const example = resource?.topic ?? resource?.filter ?? connection?.client_id ?? ''
    if (found === undefined) this.#denials.set(key, { reason, rules: named, action, count, example })
    else found.count += count
  }

  html(facts: ReportFacts): string {
    const pairs = [...this.#pairs.values()].sort((a, b) => b.allowed + b.denied - (a.allowed + a.denied))
    const denials = [...this.#denials.values()].sort((a, b) => b.count - a.count)
    const whole = facts.chain.every(({ ok }) => ok)
    return page(`
<header>
<p class="brand">Postern</p>
<h1>Who acted for whom</h1>
<p class="period">${period(facts, this.#moments)}</p>
</header>
<section class="figures" aria-label="Figures">
${figure('Actions', this.#allowed + this.#denied)}
${figure('Allowed', this.#allowed)}
${figure('Denied', this.#denied, this.#denied > 0 ? 'deny' : '')}
${figure(
  'Humans',
  distinct(
    pairs.map((pair) => pair.human),
    NOBODY,
  ),
)}
${figure(
  'Agents',
  distinct(
    pairs.map((pair) => pair.agent),
    NOT_AUTHENTICATED,
  ),
)}
</section>
<section id="chain" class="${whole ? 'good' : 'bad'}">
<h2>${whole ? '✓ The log is whole' : '✗ The log is not whole'}${this.#gaps.length > 0 ? ', and tells of what it lacks' : ''}</h2>
<ul>${facts.chain.map(({ ok, text }) => `<li class="${ok ? 'ok' : 'fault'}">${escaped(text)}</li>`).join('')}
${this.#gaps.map((text) => `<li class="gap">${escaped(text)}</li>`).join('')}</ul>
</section>
<section id="timeline">
<h2>Timeline</h2>
${timeline(columns(this.#moments))}
</section>
<section id="people">
<h2>Humans and their agents</h2>
${rows(
  ['Human', 'Agent', 'Allowed', 'Denied', 'Topics', 'First', 'Last'],
  pairs.map(({ human, via, agent, allowed, denied, topics, firstMs, lastMs }) => [
    `${escaped(human)}${via === 'owner' ? ' <small>owner</small>' : ''}`,
    escaped(agent),
    number(allowed),
    number(denied, 'deny'),
    `<span title="${escaped([...topics].join('\n'))}">${escaped(shown([...topics]))}</span>`,
    when(firstMs),
    when(lastMs),
  ]),
)}
</section>
<section id="denials">
<h2>Denials by rule</h2>
${rows(
  ['Reason', 'Rule', 'Action', 'Count', 'For example'],
  denials.map(({ reason, rules, action, count, example }) => [
    `<code>${escaped(reason)}</code>`,
    escaped(rules || '–'),
    escaped(action),
    number(count, 'deny'),
    `<code>${escaped(example)}</code>`,
  ]),
)}
</section>
<footer>Made ${when(facts.madeMs)} from ${this.#records.toLocaleString('en')} records of ${facts.files.map((file) => `<code>${escaped(file)}</code>`).join(', ')}. All times are UTC.</footer>`)
  }
}

function distinct(names: readonly string[], but: string): number {
  return new Set(names.filter((name) => name !== but)).size
}

function gapText({ seq, gap }: AuditRecord): string {
  const what =
    gap?.lost === undefined ? `${gap?.torn_bytes} bytes torn by a crash` : `${gap.lost} record(s) lost`
  return `Before seq ${seq}: ${what}.`
}

function columns(
  moments: readonly { ms: number; decision: 'allow' | 'deny'; count: number }[],
): TimelineColumn[] {
  if (moments.length === 0) return []
  const firstMs = moments.reduce((least, { ms }) => Math.min(least, ms), Number.POSITIVE_INFINITY)
  const lastMs = moments.reduce((most, { ms }) => Math.max(most, ms), 0)
  const widthMs = Math.max(1000, Math.ceil((lastMs - firstMs + 1) / COLUMNS))
  const found = Array.from({ length: Math.ceil((lastMs - firstMs + 1) / widthMs) }, (_, i) => ({
    startMs: firstMs + i * widthMs,
    allow: 0,
    deny: 0,
  }))
  for (const { ms, decision, count } of moments)
    found[Math.floor((ms - firstMs) / widthMs)]![decision] += count
  return found
}

function period({ sinceMs, untilMs }: ReportFacts, moments: readonly { ms: number }[]): string {
  const first = sinceMs ?? moments[0]?.ms
  const last = untilMs ?? moments.at(-1)?.ms
  return first === undefined || last === undefined ? 'No actions' : `${when(first)} – ${when(last)}`
}

function figure(name: string, value: number, kind = ''): string {
  return `<div class="figure ${kind}"><strong>${value.toLocaleString('en')}</strong><span>${name}</span></div>`
}

function rows(head: readonly string[], body: readonly (readonly string[])[]): string {
  if (body.length === 0) return '<p class="none">None.</p>'
  const more = body.length - MOST_ROWS
  return `<div class="wide"><table><thead><tr>${head.map((name) => `<th>${name}</th>`).join('')}</tr></thead>
<tbody>${body
    .slice(0, MOST_ROWS)
    .map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join('')}</tr>`)
    .join('\n')}</tbody></table></div>${more > 0 ? `<p class="none">… and ${more} more.</p>` : ''}`
}

function shown(topics: readonly string[]): string {
  const [first = '', ...rest] = topics
  return rest.length === 0 ? first : `${first} and ${rest.length} more`
}

function number(value: number, kind = ''): string {
  return `<span class="number ${value > 0 ? kind : ''}">${value.toLocaleString('en')}</span>`
}

function when(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace('T', ' ')
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text from agents as text, whatever it holds. */
function escaped(text: string): string {
  return printable(text).replace(/[&<>"']/g, (mark) => ENTITIES[mark]!)
}

function page(body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Postern audit report</title>
<style>${STYLE}</style>
</head>
<body>${body}
</body>
</html>
`
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #dfe4ea; --paper: #fff; --wash: #f5f7f9; --allow: #2f7d6b; --deny: #b3412e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaef; --soft: #9aa6b4; --line: #323b46; --paper: #171c22; --wash: #1f262e; --allow: #63b8a2; --deny: #e4836f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 72rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
header { margin-bottom: 1.75rem; }
.brand { margin: 0; color: var(--soft); letter-spacing: .12em; text-transform: uppercase; font-size: .75rem; }
h1 { margin: .15rem 0; font-size: 2rem; font-weight: 650; letter-spacing: -.02em; }
.period { margin: 0; color: var(--soft); font-variant-numeric: tabular-nums; }
h2 { margin: 2.25rem 0 .75rem; font-size: 1.1rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .75rem; }
.figure { padding: .85rem 1rem; border: 1px solid var(--line); border-radius: .6rem; background: var(--wash); }
.figure strong { display: block; font-size: 1.7rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.figure span { color: var(--soft); font-size: .85rem; }
.figure.deny strong { color: var(--deny); }
#chain { margin-top: 1.25rem; padding: .9rem 1.1rem; border-left: 4px solid var(--allow); border-radius: .3rem; background: var(--wash); }
#chain.bad { border-color: var(--deny); }
#chain h2 { margin: 0; }
#chain.good h2 { color: var(--allow); }
#chain.bad h2, .fault { color: var(--deny); }
#chain ul { margin: .4rem 0 0; padding-left: 1.1rem; font-size: .85rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .allow { fill: var(--allow); } svg .deny { fill: var(--deny); } svg .axis { stroke: var(--line); }
.legend { margin: .4rem 0 0; color: var(--soft); font-size: .85rem; }
.legend i { display: inline-block; width: .7rem; height: .7rem; margin: 0 .3rem 0 .8rem; border-radius: .15rem; }
.legend i:first-child { margin-left: 0; }
.legend .allow { background: var(--allow); } .legend .deny { background: var(--deny); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th { text-align: left; color: var(--soft); font-weight: 500; white-space: nowrap; }
th, td { padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td:has(> .number), td:nth-last-child(-n+2) { font-variant-numeric: tabular-nums; }
.number.deny { color: var(--deny); font-weight: 600; }
code { font: .85em ui-monospace, monospace; }
small { color: var(--soft); }
.none, footer { color: var(--soft); }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .85rem; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; } section { break-inside: avoid; } }
`
