// Generated traffic of one connection, both ways, with what must become of it.
import fc from 'fast-check'
import { ack, PINGREQ, PINGRESP, prop, publish, suback, subscribe, unsuback, unsubscribe } from './frames.ts'

/** A packet, what it becomes at the other end, and what its sender is answered by Postern. */
export interface Step {
  from: 'client' | 'server'
  packet: Buffer
  forwarded: Buffer
  answer: Buffer
}

const NOTHING = Buffer.alloc(0)
const pass = (from: Step['from'], packet: Buffer): Step => ({
  from,
  packet,
  forwarded: packet,
  answer: NOTHING,
})

const packetId = fc.integer({ min: 1, max: 60_000 })
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 100, max: 3000 }).map((length) => Buffer.alloc(length, 'p')),
)
const level = fc.constantFrom('a', 'b', 'sensor', '', 'ö', '__proto__')
const below = (root: string) =>
  fc.array(level, { minLength: 1, maxLength: 3 }).map((rest) => [root, ...rest].join('/'))
const properties = fc.subarray([
  prop.contentType('text/plain'),
  prop.userProperty('key', 'value'),
  prop.correlationData(Buffer.of(0, 255)),
  prop.responseTopic('ok/r'),
])

/** PUBLISH either way; below `ok/` it passes, below `no/` it is dropped. */
const message = fc
  .record({
    from: fc.constantFrom<Step['from']>('client', 'server'),
    root: fc.constantFrom('ok', 'no'),
    qos: fc.constantFrom(0, 1, 2),
    retain: fc.boolean(),
    packetId,
    payload,
    properties,
  })
  .chain((fields) => below(fields.root).map((topic) => ({ ...fields, topic })))
  .map(({ from, root, ...fields }): Step => {
    const packet = publish(fields)
    if (root === 'ok') return pass(from, packet)
    // A dropped QoS 2 delivery is taken in the agent's place.
    const code = fields.qos === 2 && from === 'server' ? undefined : 0x87
    const type = fields.qos === 1 ? 'puback' : 'pubrec'
    const answer = fields.qos === 0 ? NOTHING : ack(type, fields.packetId, code)
    return { from, packet, forwarded: NOTHING, answer }
  })

const acknowledgement = fc
  .record({
    from: fc.constantFrom<Step['from']>('client', 'server'),
    type: fc.constantFrom('puback', 'pubrec', 'pubcomp'),
    packetId,
  })
  .map(({ from, type, packetId: id }): Step => pass(from, ack(type as 'puback', id)))

/** A request of the client and the answer to it; the server only sees what is allowed. */
const request = fc.oneof(
  fc.constant<Step[]>([pass('client', PINGREQ), pass('server', PINGRESP)]),
  fc
    .record({ packetId, filters: fc.array(below('ok'), { minLength: 1, maxLength: 3 }) })
    .map(({ packetId: id, filters }): Step[] => [
      pass('client', unsubscribe(filters, id)),
      pass(
        'server',
        unsuback(
          filters.map(() => 0),
          id,
        ),
      ),
    ]),
  fc
    .record({
      packetId,
      allowed: fc.array(below('ok'), { maxLength: 3 }),
      denied: fc.array(below('no'), { maxLength: 3 }),
    })
    .filter(({ allowed, denied }) => allowed.length + denied.length > 0)
    .map(({ packetId: id, allowed, denied }): Step[] => {
      const filters = [...allowed, ...denied].map((filter) => [filter, 1] as const)
      const codes = [...allowed.map(() => 1), ...denied.map(() => 0x87)]
      const packet = subscribe({ packetId: id, filters })
      if (allowed.length === 0)
        return [{ from: 'client', packet, forwarded: NOTHING, answer: suback(codes, id) }]
      const narrowed = subscribe({ packetId: id, filters: filters.slice(0, allowed.length) })
      return [
        { from: 'client', packet, forwarded: narrowed, answer: NOTHING },
        {
          from: 'server',
          packet: suback(
            allowed.map(() => 1),
            id,
          ),
          forwarded: suback(codes, id),
          answer: NOTHING,
        },
      ]
    }),
)

/** Messages and acknowledgements: no order between the two sides matters. */
export const messages: fc.Arbitrary<Step[]> = fc.array(fc.oneof(message, acknowledgement), {
  minLength: 2,
  maxLength: 12,
})

/** Steps in an order that a client and a broker may come to. */
export const traffic: fc.Arbitrary<Step[]> = fc
  .array(
    fc.oneof(
      message.map((step) => [step]),
      acknowledgement.map((step) => [step]),
      request,
    ),
    { minLength: 1, maxLength: 12 },
  )
  .map((steps) => steps.flat())

/** The packets of one side, in order, each on its own. */
export function sentBy(from: Step['from'], steps: readonly Step[]): Buffer {
  return Buffer.concat(steps.filter((step) => step.from === from).map((step) => step.packet))
}

/** Where to cut a stream: sizes of chunks, repeated. */
export const cuts: fc.Arbitrary<number[]> = fc.oneof(
  fc.constant<number[]>([1]),
  fc.constant<number[]>([100_000]),
  fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 6 }),
  fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 6 }),
)

export function chunksOf(stream: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0, i = 0; at < stream.length; i++) {
    const size = sizes[i % sizes.length]!
    // A copy: the session may not keep what it was only lent.
    chunks.push(Buffer.from(stream.subarray(at, at + size)))
    at += size
  }
  return chunks
}

/** The packets in a stream, each as its bytes. */
export function framesIn(stream: Buffer): Buffer[] {
  const frames: Buffer[] = []
  for (let at = 0; at < stream.length; ) {
    let length = 0
    let digits = 0
    do {
      length += (stream[at + 1 + digits]! & 0x7f) * 128 ** digits
    } while (stream[at + 1 + digits++]! >= 0x80)
    const end = at + 1 + digits + length
    if (end > stream.length) throw new Error('the bytes end in the middle of a packet')
    frames.push(stream.subarray(at, end))
    at = end
  }
  return frames
}
