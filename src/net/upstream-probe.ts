// Asks again and again whether the broker accepts connections, for /readyz. Sends it nothing.

import { connect } from 'node:net'
import type { Clock } from '../clock.ts'
import type { UpstreamConfig } from '../config/config.ts'
import { endpointOf } from './dialer.ts'

const INTERVAL_MS = 5_000

export class UpstreamProbe {
  /** true, or why not, as a sentence. */
  reachable: true | string = 'The broker has not been tried yet.'
  readonly #upstream: UpstreamConfig
  readonly #clock: Clock
  readonly #onChange: (reachable: true | string) => void
  #end = (): void => {}

  /** @param onChange called when `reachable` has changed */
  constructor(upstream: UpstreamConfig, clock: Clock, onChange: (reachable: true | string) => void) {
    this.#upstream = upstream
    this.#clock = clock
    this.#onChange = onChange
  }

  start(): void {
    const { address, connectTimeout } = this.#upstream
    const socket = connect(endpointOf(address))
    const done = (reachable: true | string): void => {
      socket.destroy()
      const next = this.#clock.after(INTERVAL_MS, () => this.start())
      this.#end = () => next.cancel()
      if (reachable === this.reachable) return
      this.reachable = reachable
      this.#onChange(reachable)
    }
    socket.setTimeout(connectTimeout)
    socket.once('connect', () => done(true))
    socket.once('timeout', () => done('The broker does not answer.'))
    socket.once('error', (error) => done(`The broker cannot be reached: ${error.message}.`))
    this.#end = () => {
      socket.removeAllListeners()
      socket.destroy()
    }
  }

  stop(): void {
    this.#end()
  }
}
