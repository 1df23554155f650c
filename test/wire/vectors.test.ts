import { describe, expect, it } from 'vitest'
import { FAULTS } from '../../src/wire/fault.ts'
import { parseFrame } from '../support/notation.ts'
import { type From, newReader, readPackets, slices } from '../support/read-packets.ts'
import acks from '../vectors/acks.json' with { type: 'json' }
import connack from '../vectors/connack.json' with { type: 'json' }
import connect from '../vectors/connect.json' with { type: 'json' }
import disconnectAuth from '../vectors/disconnect-auth.json' with { type: 'json' }
import fixedHeader from '../vectors/fixed-header.json' with { type: 'json' }
import publish from '../vectors/publish.json' with { type: 'json' }
import suback from '../vectors/suback.json' with { type: 'json' }
import subscribe from '../vectors/subscribe.json' with { type: 'json' }

interface Row {
  name: string
  spec: string
  from: string
  /** Notation of test/support/notation.ts. */
  frame: string
  /** `head`, or the name of the fault. */
  expect: string
  /** Packets found, when it is not one for `head` and none for a fault. */
  heads?: string[]
}

const files: Record<string, Row[]> = {
  'fixed header': fixedHeader,
  connect,
  connack,
  publish,
  acks,
  subscribe,
  suback,
  'disconnect and auth': disconnectAuth,
}

describe.each(Object.entries(files))('%s', (_, rows) => {
  it.each(rows)('$name -> $expect', ({ from, frame, expect: expected, heads }) => {
    const stream = parseFrame(frame)
    const fault = expected === 'head' ? undefined : expected
    const whole = readPackets([stream], newReader(from as From))
    expect(whole.fault).toBe(fault)
    if (heads) expect(whole.heads.map((head) => head.packet)).toEqual(heads)
    else expect(whole.heads).toHaveLength(fault === undefined ? 1 : 0)
    expect(readPackets(slices(stream, 1), newReader(from as From))).toEqual(whole)
  })

  it.each(rows)('J3: $name, with other packets behind it -> $expect', ({ from, frame, expect: expected }) => {
    const stream = parseFrame(frame)
    const ping = from === 'client' ? Buffer.of(0xc0, 0) : Buffer.of(0xd0, 0)
    const alone = readPackets([stream], newReader(from as From))
    const { heads, fault } = readPackets(
      [Buffer.concat([stream, ...Array<Buffer>(40).fill(ping)])],
      newReader(from as From),
    )
    expect(fault).toBe(alone.fault)
    expect(heads.slice(0, alone.heads.length)).toEqual(alone.heads)
    expect(heads).toHaveLength(alone.heads.length + (expected === 'head' ? 40 : 0))
  })
})

it('every fault has a vector', () => {
  const seen = new Set(Object.values(files).flatMap((rows) => rows.map((row) => row.expect)))
  const missing = FAULTS.slice(1).filter((fault) => !seen.has(fault.name))
  expect(missing.map((fault) => fault.name)).toEqual([])
})
