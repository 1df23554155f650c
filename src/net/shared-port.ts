// One TCP port on which several processes accept, each for itself: the kernel gives every connection to one of them, by a
// hash of both addresses (SO_REUSEPORT).

import { createServer } from 'node:net'

/** Whether this platform spreads connections so: Linux and some BSDs; not macOS, not Windows. */
export function canSharePorts(): Promise<boolean> {
  const server = createServer((socket) => socket.destroy())
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen({ host: '127.0.0.1', port: 0, reusePort: true }, () => {
      server.close(() => resolve(true))
    })
  })
}
