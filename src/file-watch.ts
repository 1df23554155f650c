// Tells when a file has changed, however it was replaced: written in place, renamed over, or by a swapped symbolic
// link as Kubernetes does with mounted ConfigMaps and Secrets. Reads no content.

import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock, Timer } from '../clock.ts'

/** A change is reported when the directory has been quiet for this long, so that a half-written file is rarely read. */
const QUIET_MS = 100

/**
 * Calls `onChange` after the file at `path` has changed. The directory is watched, since a watch on the file itself
 * would follow the old one away.
 *
 * @returns stops watching
 */
export async function watchFile(path: string, clock: Clock, onChange: () => void): Promise<() => void> {
  let known = await identityOf(path)
  let quiet: Timer | undefined
  let stopped = false

  const look = async (): Promise<void> => {
    const current = await identityOf(path)
    if (stopped || current === known) return
    known = current
    onChange()
  }
  const watcher: FSWatcher = watch(dirname(path), { persistent: false }, () => {
    quiet?.cancel()
    quiet = clock.after(QUIET_MS, () => void look())
  })
  // A directory that goes away ends the watch; SIGHUP still reloads.
  watcher.on('error', () => watcher.close())

  return () => {
    stopped = true
    quiet?.cancel()
    watcher.close()
  }
}

/** Changes whenever another file or other content is behind `path`; empty while there is none. */
async function identityOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true })
    return `${ino} ${size} ${mtimeNs}`
  } catch {
    return ''
  }
}
