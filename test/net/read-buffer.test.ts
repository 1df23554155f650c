// Bytes that a write still refers to are never written again, whatever is read after them, by whichever socket.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ReadBuffer, recycle } from '../../src/net/read-buffer.ts'

const reads = fc.array(
  fc.record({
    socket: fc.nat(2),
    length: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 256 * 1024 })),
    isReferenced: fc.boolean(),
    /** Then everything that was referenced has been written. */
    isDrained: fc.boolean(),
  }),
  { maxLength: 60 },
)

test('what is referenced stays as it is until it is written; the rest is used again', () => {
  fc.assert(
    fc.property(reads, (all) => {
      const sockets = [new ReadBuffer(), new ReadBuffer(), new ReadBuffer()]
      let referenced: { bytes: Buffer; value: number }[] = []
      const given: Buffer[] = []
      for (const [i, { socket, length, isReferenced, isDrained }] of all.entries()) {
        const buffer = sockets[socket]!
        const read = Math.min(length, buffer.current.length)
        const value = (i % 255) + 1
        buffer.current.fill(value, 0, read)
        const bytes = buffer.take(read)
        expect(bytes.length).toBe(read)
        expect(bytes.every((byte) => byte === value)).toBe(true)
        const gone = buffer.giveBack(isReferenced)
        if (isReferenced) referenced.push({ bytes, value })
        if (gone !== undefined) given.push(gone)
        for (const one of referenced) expect(one.bytes.every((byte) => byte === one.value)).toBe(true)
        if (!isDrained) continue
        referenced = []
        recycle(given)
      }
      for (const one of sockets) one.release()
    }),
    { numRuns: 60 },
  )
})
