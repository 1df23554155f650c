// Actions over time as an inline SVG: a stacked column for each span of time. Pure.

export interface TimelineColumn {
  startMs: number
  allow: number
  deny: number
}

const WIDTH = 960
const HEIGHT = 190
const LEFT = 44
const BOTTOM = 24
const TOP = 8

export function timeline(columns: readonly TimelineColumn[]): string {
  if (columns.length === 0) return '<p class="none">None.</p>'
  const most = Math.max(...columns.map(({ allow, deny }) => allow + deny))
  const space = HEIGHT - TOP - BOTTOM
  const step = (WIDTH - LEFT) / columns.length
  const width = Math.max(1, Math.min(step - 2, 40))
  const high = (count: number): number => (count / most) * space
  const bars = columns
    .map(({ startMs, allow, deny }, i) => {
      if (allow + deny === 0) return ''
      const x = (LEFT + i * step + (step - width) / 2).toFixed(1)
      const title = `<title>${label(startMs)}: ${allow} allowed, ${deny} denied</title>`
      const bar = (kind: string, count: number, below: number): string =>
        count === 0
          ? ''
          : `<rect class="${kind}" x="${x}" y="${(TOP + space - high(below + count)).toFixed(1)}" width="${width.toFixed(1)}" height="${Math.max(1.5, high(count)).toFixed(1)}" rx="1"/>`
      return `<g>${title}${bar('allow', allow, 0)}${bar('deny', deny, allow)}</g>`
    })
    .join('')
  const line = (y: number, text: string): string =>
    `<line class="axis" x1="${LEFT}" x2="${WIDTH}" y1="${y}" y2="${y}"/><text x="${LEFT - 6}" y="${y + 4}" text-anchor="end">${text}</text>`
  const last = columns.at(-1)!
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Actions over time, allowed and denied">
${line(TOP, most.toLocaleString('en'))}${line(TOP + space, '0')}
${bars}
<text x="${LEFT}" y="${HEIGHT - 6}">${label(columns[0]!.startMs)}</text>
${columns.length > 1 ? `<text x="${WIDTH}" y="${HEIGHT - 6}" text-anchor="end">${label(last.startMs)}</text>` : ''}
</svg>
<p class="legend"><i class="allow"></i>allowed <i class="deny"></i>denied</p>`
}

function label(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace('T', ' ')
}
