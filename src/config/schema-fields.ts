// How the fields of the configuration file are read: each with a parser whose message says what to write. Pure.
import { z } from 'zod'
import { type Parsed, parseAddress, parseDuration, parseSize } from './fields.ts'

type Meta = { type: string | string[]; pattern?: string; items?: object; minItems?: number }

/** A field with a parser of ours, whose message says what to write. */
export function field<T>(parse: (value: unknown) => Parsed<T>, meta: Meta) {
  return z
    .unknown()
    .transform((value, context): T => {
      const parsed = parse(value)
      if (parsed.ok) return parsed.value
      context.addIssue({ code: 'custom', message: parsed.message })
      return z.NEVER
    })
    .meta(meta)
}

/** Refuses a value outside the range with the range as it would be written. */
export function ranged(parse: (value: unknown) => Parsed<number>, least: string, most: string) {
  const [low, high] = [parse(least), parse(most)]
  if (!low.ok || !high.ok) throw new TypeError(`bad range ${least} to ${most}`)
  return (value: unknown): Parsed<number> => {
    const parsed = parse(value)
    if (!parsed.ok || (parsed.value >= low.value && parsed.value <= high.value)) return parsed
    return { ok: false, message: `Write a value from \`${least}\` to \`${most}\`.` }
  }
}

export const duration = (preset: string, least = '1ms', most = '8760h') =>
  field(ranged(parseDuration, least, most), { type: 'string', pattern: '^[0-9]+(ms|s|m|h)$' }).prefault(
    preset,
  )

export const size = (preset: string, least: string, most = '1GiB') =>
  field(ranged(parseSize, least, most), {
    type: ['string', 'integer'],
    pattern: '^[0-9]+(B|KiB|MiB|GiB)?$',
  }).prefault(preset)

export const address = (example: string) => field((value) => parseAddress(value, example), { type: 'string' })

export const count = (preset: number, least: number, most: number) => {
  const error = `Write a whole number from ${least} to ${most}.`
  return z.int({ error }).min(least, { error }).max(most, { error }).prefault(preset)
}

export const flag = (preset: boolean) => z.boolean({ error: 'Write `true` or `false`.' }).prefault(preset)

export const choice = <const T extends readonly string[]>(values: T) =>
  z.enum(values, { error: `Write one of ${values.map((v) => `\`${v}\``).join(', ')}.` })

/** Text of at least one character, without control characters. */
export const text = (what: string) =>
  field(
    (value): Parsed<string> => {
      if (typeof value === 'object' && value !== null) {
        return { ok: false, message: `Write ${what} as text, in quotes when it starts with \`{\` or \`[\`.` }
      }
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
      if (typeof value !== 'string' || value === '' || /[\0-\x1f\x7f]/.test(value)) {
        return {
          ok: false,
          message: `Write ${what} as text${typeof value === 'number' ? ', in quotes' : ''}.`,
        }
      }
      return { ok: true, value }
    },
    { type: 'string' },
  )

/** One text, or a list of them. */
export const texts = (what: string) =>
  field(
    (value): Parsed<readonly string[]> => {
      const list = typeof value === 'string' ? [value] : value
      const good =
        Array.isArray(list) && list.length > 0 && list.every((v) => typeof v === 'string' && v !== '')
      return good
        ? { ok: true, value: list }
        : { ok: false, message: `Write ${what}: one text, or a list of texts.` }
    },
    { type: ['string', 'array'], items: { type: 'string' }, minItems: 1 },
  )

/** Key to text. No prototype, so that no name in the file and no name in a token can reach one. */
export const textMap = (what: string, keyProblem: (key: string) => string | undefined) =>
  field(
    (value): Parsed<Readonly<Record<string, string>>> => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        return { ok: false, message: `Write ${what}, one \`name: value\` per line.` }
      }
      const map: Record<string, string> = Object.create(null)
      for (const [key, entry] of Object.entries(value)) {
        const problem = keyProblem(key)
        if (problem !== undefined) return { ok: false, message: problem }
        if (typeof entry !== 'string' || entry === '') {
          return {
            ok: false,
            message: `Write ${what}; each value is text, in quotes if it looks like a number.`,
          }
        }
        map[key] = entry
      }
      return { ok: true, value: map }
    },
    { type: 'object' },
  ).prefault({})

export const section = <T extends z.core.$ZodShape>(shape: T) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'invalid_type' ? 'Write a section of keys, indented below this one.' : undefined,
  })

export const requiredSection = <T extends z.core.$ZodShape>(shape: T) => section(shape).prefault({} as never)
