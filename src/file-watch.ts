// Tells when a file has changed, however it was replaced: written in place, renamed over, by a swapped symbolic link as
// Kubernetes does with mounted ConfigMaps and Secrets, or where no watch sees it. Reads no content.

import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock, Timer } from './clock.ts'

/** A change is reported once two looks this far apart have seen the same, so that a half-written file is rarely read. */
const SETTLE_MS = 50
/** For what a watch misses: network file systems, a directory that was replaced, links to files elsewhere. */
const POLL_MS = 5_000

/**
 * Calls `onChange` after the file at `path` has changed, also when it went away. Its directory is watched, since a
 * watch on the file itself would follow the old one away. Other files in that directory may change at any rate.
 *
 * @returns stops watching
 */
export async function watchFile(path: string, clock: Clock, onChange: () => void): Promise<() => void> {
  let known = await identityOf(path)
  let seen = known
  let isSoon = false
  let timer: Timer | undefined
  let stopped = false

  const look = async (): Promise<void> => {
    timer = undefined
    isSoon = false
    const current = await identityOf(path)
    if (stopped) return
    const hasSettled = current === seen
    seen = current
    if (hasSettled && current !== known) {
      known = current
      onChange()
    }
    isSoon ||= current !== known
    timer = clock.after(isSoon ? SETTLE_MS : POLL_MS, () => void look())
  }
  /** Brings the next look forward. One that is near already stays: in a busy directory it would never come. */
  const lookSoon = (): void => {
    if (isSoon || stopped) return
    isSoon = true
    if (timer === undefined) return
    timer.cancel()
    timer = clock.after(SETTLE_MS, () => void look())
  }
  const watcher = watchDirectory(dirname(path), lookSoon)
  timer = clock.after(POLL_MS, () => void look())

  return () => {
    stopped = true
    timer?.cancel()
    watcher?.close()
  }
}

/** undefined where nothing can be watched: no such directory, or no more watches to be had (inotify(7), ENOSPC). */
function watchDirectory(directory: string, onEvent: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(directory, { persistent: false }, onEvent)
    return watcher.on('error', () => watcher.close())
  } catch {
    return undefined
  }
}

/** Changes whenever another file or other content is behind `path`; empty while there is none. */
async function identityOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, ctimeNs } = await stat(path, { bigint: true })
    return `${dev} ${ino} ${size} ${ctimeNs}`
  } catch {
    return ''
  }
}
