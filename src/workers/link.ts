// Questions and answers between two processes, over the channel that node:child_process gives a parent and its child.
// Messages arrive in the order in which they were sent.

import type { Socket } from 'node:net'
import { PosternError } from '../errors.ts'

/** Name of a call -> what goes with it, and what comes back. */
export type Calls = Record<string, { ask: unknown; answer: unknown }>

/** Answers to the calls of the other side; a PosternError goes back as one. */
export type Handlers<C extends Calls> = {
  [K in keyof C]: (ask: C[K]['ask'], socket: Socket | undefined) => C[K]['answer'] | Promise<C[K]['answer']>
}

/** What goes over the channel, by structured clone. */
export type Frame =
  | { kind: 'ask'; id: number; name: string; body: unknown }
  | { kind: 'tell'; name: string; body: unknown }
  | { kind: 'answer'; id: number; body: unknown }
  | { kind: 'error'; id: number; code: string; message: string }

/** Code of the error with which a question ends that nobody answers any more. */
export const GONE = 'ERR_WORKER_GONE'

interface Waiting {
  resolve(answer: unknown): void
  reject(error: Error): void
}

export class Link<Out extends Calls, In extends Calls> {
  readonly #send: (frames: Frame[], socket?: Socket) => void
  /** Not sent yet: what comes about in one turn of the event loop goes in one message. */
  #outgoing: Frame[] = []
  readonly #handlers: Handlers<In>
  readonly #waiting = new Map<number, Waiting>()
  #asked = 0
  #isClosed = false

  /** @param send may be called after the other side has gone; must not throw */
  constructor(send: (frames: Frame[], socket?: Socket) => void, handlers: Handlers<In>) {
    this.#send = send
    this.#handlers = handlers
  }

  /** Without an answer. */
  tell<K extends keyof Out & string>(name: K, body: Out[K]['ask']): void {
    this.#put({ kind: 'tell', name, body })
  }

  /** The same with a socket, at once. */
  hand<K extends keyof Out & string>(name: K, body: Out[K]['ask'], socket: Socket): void {
    this.flush()
    if (this.#isClosed) socket.destroy()
    else this.#send([{ kind: 'tell', name, body }], socket)
  }

  /** @throws PosternError of the other side; `GONE` when it has ended or ends */
  ask<K extends keyof Out & string>(name: K, body: Out[K]['ask']): Promise<Out[K]['answer']> {
    if (this.#isClosed) return Promise.reject(gone())
    const id = ++this.#asked
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#put({ kind: 'ask', id, name, body })
    })
  }

  /** Sends what waits. */
  flush(): void {
    const frames = this.#outgoing
    if (frames.length === 0 || this.#isClosed) return
    this.#outgoing = []
    this.#send(frames)
  }

  /** A message of the other side. */
  receive(frames: readonly Frame[], socket: Socket | undefined): void {
    for (const frame of frames) this.#take(frame, socket)
  }

  #put(frame: Frame): void {
    if (this.#outgoing.push(frame) === 1) setImmediate(() => this.flush())
  }

  #take(frame: Frame, socket: Socket | undefined): void {
    if (frame.kind === 'tell') return void this.#handle(frame, socket)
    if (frame.kind === 'ask') return void this.#answer(frame)
    const waiting = this.#waiting.get(frame.id)
    this.#waiting.delete(frame.id)
    if (frame.kind === 'answer') waiting?.resolve(frame.body)
    else waiting?.reject(new PosternError(frame.code, 'internal', frame.message))
  }

  /** The other side has gone: nothing that was asked will be answered. */
  close(): void {
    this.#isClosed = true
    for (const { reject } of this.#waiting.values()) reject(gone())
    this.#waiting.clear()
  }

  async #answer(frame: Frame & { kind: 'ask' }): Promise<void> {
    const { id } = frame
    try {
      this.#put({ kind: 'answer', id, body: await this.#handle(frame, undefined) })
    } catch (error) {
      const code = error instanceof PosternError ? error.code : 'ERR_INTERNAL'
      this.#put({ kind: 'error', id, code, message: (error as Error).message })
    }
  }

  #handle({ name, body }: { name: string; body: unknown }, socket: Socket | undefined): unknown {
    return this.#handlers[name as keyof In](body as never, socket)
  }
}

function gone(): PosternError {
  return new PosternError(GONE, 'internal', 'the other process has ended')
}
