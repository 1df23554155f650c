// Unix socket files that a killed process left behind: nobody answers on them, and nobody else can bind their name.

import { lstatSync, rmSync } from 'node:fs'
import { connect } from 'node:net'

/** Removes the socket at `path` if no process listens on it. Whatever else is there is left for the bind to refuse. */
export async function removeAbandonedSocket(path: string): Promise<void> {
  // A file that is no socket is refused too (connect(2)).
  if ((await isRefused(path)) && lstatSync(path, { throwIfNoEntry: false })?.isSocket()) rmSync(path)
}

function isRefused(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path, () => {
      probe.destroy()
      resolve(false)
    })
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
}
