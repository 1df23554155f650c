import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { systemClock } from '../src/clock.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('EXP-06 a timer longer than 2^31 ms, at which setTimeout overflows, fires in its time and not before', () => {
  const fired = vi.fn()
  const delayMs = 3 * 2 ** 31
  systemClock.after(delayMs, fired)
  vi.advanceTimersByTime(delayMs - 1000)
  expect(fired).not.toHaveBeenCalled()
  vi.advanceTimersByTime(2000)
  expect(fired).toHaveBeenCalledTimes(1)
})

test('EXP-06 a step of the wall clock moves no timer', () => {
  const fired = vi.fn()
  systemClock.after(60_000, fired)
  vi.setSystemTime(Date.now() + 3_600_000)
  vi.advanceTimersByTime(59_000)
  expect(fired).not.toHaveBeenCalled()
  vi.setSystemTime(Date.now() - 7_200_000)
  vi.advanceTimersByTime(1_000)
  expect(fired).toHaveBeenCalledTimes(1)
})

test('a timer that is cancelled, even after its first 2^31 ms, never fires', () => {
  const fired = vi.fn()
  const timer = systemClock.after(2 ** 32, fired)
  vi.advanceTimersByTime(2 ** 31 + 5)
  timer.cancel()
  timer.cancel()
  vi.advanceTimersByTime(2 ** 33)
  expect(fired).not.toHaveBeenCalled()
})
