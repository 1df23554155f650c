// Who accepts the agents' connections: this process for itself, every worker for itself, or the first process for all.

import type { Clock } from './clock.ts'
import type { Config } from './config/config.ts'
import { Listener } from './net/listener.ts'
import { canSharePorts } from './net/shared-port.ts'
import type { Crew, SharedPorts } from './roles.ts'
import type { SessionRegistry } from './session/registry.ts'
import type { Logger } from './telemetry/logger.ts'

export interface ListenerParts {
  clock: Clock
  logger: Logger
  readFile(path: string): Promise<Buffer>
  /** In the first of several processes. */
  crew: Crew | undefined
  /** In a worker. */
  ticketKeys: Buffer | undefined
}

/** The listeners of the configuration, each ready for `take` and `listen`. @throws PosternError ERR_TLS */
export async function openListeners(
  { listeners, limits }: Config,
  registry: SessionRegistry,
  { clock, logger, readFile, crew, ticketKeys }: ListenerParts,
): Promise<Listener[]> {
  const opened = listeners.map(
    (listener, place) =>
      new Listener(listener, registry, {
        ...{ clock, readFile, ticketKeys, headerTimeoutMs: limits.connectTimeout },
        handOver: crew && ((socket) => crew.take(place, socket)),
        onError: (error) =>
          logger.error({ listener: listener.name, err: error }, 'a connection could not be accepted'),
      }),
  )
  for (const listener of opened) await listener.open()
  return opened
}

/**
 * In the process that was started: finds out whether every address is free, and then accepts there, or lets the workers.
 * What cannot be shared (Unix sockets; everything where the platform has no SO_REUSEPORT) is accepted here and handed over.
 *
 * @throws PosternError ERR_LISTEN
 */
export async function listen(
  listeners: readonly Listener[],
  crew: Crew | undefined,
  logger: Logger,
): Promise<void> {
  const isShared = crew !== undefined && (await canSharePorts())
  const ports: (number | undefined)[] = []
  for (const listener of listeners) {
    if (isShared && listener.hasPort) ports.push(await listener.choosePort())
    else ports.push(void (await listener.listen()))
  }
  try {
    await crew?.listen(ports)
  } finally {
    for (const [i, listener] of listeners.entries()) if (ports[i] !== undefined) listener.letGo()
  }
  for (const { name, address } of listeners) logger.info({ listener: name, address }, 'listening')
}

/** In a worker. @throws PosternError ERR_LISTEN */
export async function listenToo(listeners: readonly Listener[], ports: SharedPorts): Promise<void> {
  await Promise.all(
    listeners.map((listener, place) => {
      const port = ports[place]
      return port === undefined ? undefined : listener.listen(port)
    }),
  )
}
