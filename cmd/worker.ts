// The process of a worker, which `postern run` starts when the configuration wants several. Not for people.

import { systemClock } from '../src/clock.ts'
import type { Frame } from '../src/workers/link.ts'
import { Worker } from '../src/workers/worker.ts'
import { EXIT } from './exit.ts'
import { tuneMemory } from './memory.ts'

/** For DISCONNECT and the last audit records when the first process has ended. */
const FAREWELL_MS = 1_000

tuneMemory()
const worker = new Worker({
  send: (frames) => void process.send?.(frames, undefined, undefined, () => {}),
  leave: () => {
    process.off('disconnect', onDisconnect)
    process.disconnect()
  },
})
process.on('message', (frames, socket) => worker.receive(frames as Frame[], socket as never))
process.on('disconnect', onDisconnect)
// Sent to all processes of a group; the first one tells its workers what to do.
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})

function onDisconnect(): void {
  const end = (): void => process.exit(EXIT.FAILED)
  systemClock.after(FAREWELL_MS, end)
  worker.abandoned().then(end, end)
}
