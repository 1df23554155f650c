// Every property in every packet, once and twice, against a table of its own: MQTT 5.0 Table 2-4.

import { describe, expect, it } from 'vitest'
import { parseFrame } from '../support/notation.ts'
import { type From, newReader, readPackets } from '../support/read-packets.ts'
import table from '../vectors/properties.json' with { type: 'json' }

/** A packet of each kind around a property block, and who may send it. */
const PACKETS: Record<string, { frame: (block: string) => string; from: From[] }> = {
  CONNECT: { frame: (block) => `10 [ s'MQTT' 05 02 00 00 [ ${block} ] s'a' ]`, from: ['client'] },
  Will: { frame: (block) => `10 [ s'MQTT' 05 06 00 00 [ ] s'a' [ ${block} ] s'w' s'' ]`, from: ['client'] },
  CONNACK: { frame: (block) => `20 [ 00 00 [ ${block} ] ]`, from: ['server'] },
  PUBLISH: { frame: (block) => `30 [ s'a/b' [ ${block} ] 'payload' ]`, from: ['client', 'server'] },
  PUBACK: { frame: (block) => `40 [ 00 01 00 [ ${block} ] ]`, from: ['client', 'server'] },
  PUBREC: { frame: (block) => `50 [ 00 01 00 [ ${block} ] ]`, from: ['client', 'server'] },
  PUBREL: { frame: (block) => `62 [ 00 01 00 [ ${block} ] ]`, from: ['client', 'server'] },
  PUBCOMP: { frame: (block) => `70 [ 00 01 00 [ ${block} ] ]`, from: ['client', 'server'] },
  SUBSCRIBE: { frame: (block) => `82 [ 00 01 [ ${block} ] s'a/b' 00 ]`, from: ['client'] },
  SUBACK: { frame: (block) => `90 [ 00 01 [ ${block} ] 00 ]`, from: ['server'] },
  UNSUBSCRIBE: { frame: (block) => `a2 [ 00 01 [ ${block} ] s'a/b' ]`, from: ['client'] },
  UNSUBACK: { frame: (block) => `b0 [ 00 01 [ ${block} ] 00 ]`, from: ['server'] },
  DISCONNECT: { frame: (block) => `e0 [ 00 [ ${block} ] ]`, from: ['client', 'server'] },
  AUTH: { frame: (block) => `f0 [ 18 [ ${block} ] ]`, from: ['client', 'server'] },
}

const WRONG_DIRECTION = new Set([
  'Subscription Identifier in PUBLISH from client', // [MQTT-3.3.4-6]
  'Session Expiry Interval in DISCONNECT from server', // [MQTT-3.14.2-2]
  'Server Reference in DISCONNECT from client', // §3.14.2.2.5
])

const REPEATABLE = new Set(['User Property', 'Subscription Identifier in PUBLISH from server'])

interface Case {
  case: string
  from: From
  once: string
  twice: string
  expectOnce: string | undefined
  expectTwice: string | undefined
}

const METHOD = "15 s'M'"

function casesOf(property: (typeof table)[number]): Case[] {
  return Object.entries(PACKETS).flatMap(([packet, { frame, from }]) =>
    from.map((sender) => {
      const name = `${property.name} in ${packet} from ${sender}`
      const legal = property.packets.includes(packet)
      // Authentication Data needs a method beside it, and so does every AUTH.
      const needsMethod = legal && (property.id === '16' || (packet === 'AUTH' && property.id !== '15'))
      const one = `${property.id} ${property.value}`
      const before = needsMethod ? `${METHOD} ` : ''
      let expectOnce: string | undefined
      if (!legal) expectOnce = 'property_not_allowed'
      else if (WRONG_DIRECTION.has(name)) expectOnce = 'property_wrong_direction'
      const repeatable = REPEATABLE.has(name) || REPEATABLE.has(property.name)
      return {
        case: name,
        from: sender,
        once: frame(before + one),
        twice: frame(`${before}${one} ${one}`),
        expectOnce,
        expectTwice: expectOnce ?? (repeatable ? undefined : 'duplicate_property'),
      }
    }),
  )
}

describe.each(table)('J5: $name', (property) => {
  it.each(casesOf(property))('$case', ({ from, once, twice, expectOnce, expectTwice }) => {
    expect(readPackets([parseFrame(once)], newReader(from)).fault).toBe(expectOnce)
    expect(readPackets([parseFrame(twice)], newReader(from)).fault).toBe(expectTwice)
  })
})

it('J5: no other identifier is a property anywhere', () => {
  const known = new Set(table.map((property) => Number.parseInt(property.id, 16)))
  for (let id = 0; id < 256; id++) {
    if (known.has(id)) continue
    for (const { frame, from } of Object.values(PACKETS)) {
      const block = `${id.toString(16).padStart(2, '0')} 00 01 00 00`
      expect(readPackets([parseFrame(frame(block))], newReader(from[0]!)).fault).toBe('unknown_property')
    }
  }
})

it('J5: two properties of one packet are never taken for one another', () => {
  const connack = table.filter((property) => property.packets.includes('CONNACK'))
  for (const a of connack) {
    for (const b of connack) {
      if (a === b) continue
      const block = [a, b].map((property) => `${property.id} ${property.value}`).join(' ')
      const needsMethod = [a, b].some((p) => p.id === '16') && ![a, b].some((p) => p.id === '15')
      const frame = PACKETS['CONNACK']!.frame(needsMethod ? `${block} ${METHOD}` : block)
      expect(readPackets([parseFrame(frame)], newReader('server')).fault, `${a.name}, ${b.name}`).toBe(
        undefined,
      )
    }
  }
})

it('J7: each packet has its own allowance of User Properties', () => {
  for (const { frame, from } of Object.values(PACKETS)) {
    const method = frame('').startsWith('f0') ? METHOD : ''
    const packet = parseFrame(frame(`${method} 64* ( 26 s'' s'' )`))
    const reader = newReader(from[0]!)
    expect(readPackets([packet, packet, packet], reader)).toMatchObject({
      heads: [{}, {}, {}],
      fault: undefined,
    })
    const beyond = parseFrame(frame(`${method} 65* ( 26 s'' s'' )`))
    expect(readPackets([beyond], newReader(from[0]!)).fault).toBe('too_many_user_properties')
  }
})
