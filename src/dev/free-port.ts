// A port for a program that cannot choose its own, as a child process that is told where to listen.

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below those that Linux and macOS give to outgoing connections, one of which might have it when it is wanted. */
const FIRST = 10_000
const LAST = 19_999

/** A TCP port on which nobody listens on the loopback interface. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, LAST + 1)
    const server = createServer()
    const listening = once(server, 'listening').then(
      () => true,
      () => false,
    )
    server.listen(port, '127.0.0.1')
    if (!(await listening)) continue
    server.close()
    await once(server, 'close')
    return port
  }
}
