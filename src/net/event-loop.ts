// The event loop of Node.js, as session/wake-coalescing.ts wants it.

import type { EventLoop } from '../session/wake-coalescing.ts'

/** Nobody ever notifies it. */
const nothing = new Int32Array(new SharedArrayBuffer(4))

export const eventLoop: EventLoop = {
  // After the sockets that are ready, and before the loop asks the kernel for more.
  afterTurn: (call) => void setImmediate(call),
  rest: (ms) => void Atomics.wait(nothing, 0, 0, ms),
}
