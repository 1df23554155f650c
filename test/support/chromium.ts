// A real browser for pages that Postern writes. Installed by the suite's setup when it is missing and this machine lets
// it; otherwise tests that need it are skipped, which says so.
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']
const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
]
const run = promisify(execFile)

/** The command, or undefined where there is none. */
export const findChromium = (): string | undefined =>
  NAMES.find((name) => spawnSync(name, ['--version']).status === 0)

async function start(chromium: string, args: readonly string[], url: string): Promise<string> {
  const profile = mkdtempSync(join(tmpdir(), 'postern-chromium-'))
  try {
    const flags = [...FLAGS, `--user-data-dir=${profile}`, ...args]
    return (await run(chromium, [...flags, url], { maxBuffer: 64 * 1024 * 1024, timeout: 60_000 })).stdout
  } finally {
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** The document as the browser understood it. */
export function dumpDom(chromium: string, url: string): Promise<string> {
  return start(chromium, ['--dump-dom'], url)
}

export async function screenshot(chromium: string, url: string, file: string): Promise<void> {
  await start(chromium, [`--screenshot=${file}`, '--window-size=1200,1500', '--hide-scrollbars'], url)
}
