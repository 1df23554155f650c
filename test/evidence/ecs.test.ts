// The mapping against the published schema itself: the fields, types and allowed values of the package @elastic/ecs.
import { EcsFlat, EcsVersion } from '@elastic/ecs'
import { describe, expect, it } from 'vitest'
import { AUDIT_ACTIONS } from '../../src/audit/event.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { ecsDocument } from '../../src/evidence/ecs.ts'
import { story } from './records.ts'

interface Field {
  type: string
  normalize: string[]
  allowed_values?: { name: string; expected_event_types?: string[] }[]
}
const FIELDS = new Map(Object.entries(EcsFlat as unknown as Record<string, Field>))

const TYPES: Record<string, (value: unknown) => boolean> = {
  keyword: (value) => typeof value === 'string',
  constant_keyword: (value) => typeof value === 'string',
  match_only_text: (value) => typeof value === 'string',
  date: (value) => !Number.isNaN(Date.parse(value as string)),
  long: (value) => Number.isSafeInteger(value),
  ip: (value) => typeof value === 'string' && /^[0-9.]+$|:/.test(value),
}

/** What of the document the schema does not know, or wants otherwise. */
function faults(value: unknown, path: string): string[] {
  if (path === 'postern') return [] // the schema leaves a name of one's own free
  const field = FIELDS.get(path)
  if (field !== undefined) {
    const isList = field.normalize.includes('array')
    if (isList !== Array.isArray(value)) return [`${path} is ${isList ? 'no list' : 'a list'}`]
    const values = isList ? (value as unknown[]) : [value]
    const names = field.allowed_values?.map(({ name }) => name)
    return values
      .filter((one) => TYPES[field.type]?.(one) !== true || names?.includes(one as string) === false)
      .map((one) => `${path}: ${JSON.stringify(one)}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return [`${path} is not in the schema`]
  return Object.entries(value).flatMap(([name, member]) =>
    faults(member, path === '' ? name : `${path}.${name}`),
  )
}

describe('AUD-12 Elastic Common Schema', () => {
  const records = [
    ...story(),
    ...AUDIT_ACTIONS.map((action): AuditRecord => ({ ...story()[2]!, action, decision: 'deny' })),
  ]
  it.each(records.map((record) => [record.action, record.decision, record] as const))(
    'a record of %s (%s) fits the published schema',
    (_, __, record) => {
      const document = ecsDocument(record) as { event: { category: [string]; type: string[] } }
      expect(faults(document, '')).toEqual([])
      expect(document).toMatchObject({ ecs: { version: EcsVersion } })
      const categories = FIELDS.get('event.category')!.allowed_values!
      const expected = categories.find(({ name }) => name === document.event.category[0])
      for (const type of document.event.type) expect(expected!.expected_event_types).toContain(type)
    },
  )

  it('is told a document that does not fit', () => {
    expect(faults({ event: { category: ['nonsense'] }, when: 1 }, '')).toHaveLength(2)
  })

  it('says who for whom, on what, by which rule, from where, in which trace', () => {
    const documents = story().map(ecsDocument)
    expect(documents[2]).toMatchObject({
      event: { action: 'mqtt-publish', type: ['access', 'allowed'], outcome: 'success' },
      user: { name: 'scout', effective: { id: 'user-alice', name: 'alice' } },
      related: { user: ['scout', 'alice'] },
      client: { ip: '127.0.0.1', port: 40000 },
      rule: { name: 'valves, may' },
      postern: { resource: { topic: 'plant/a/valve' } },
    })
    expect(documents[6]).toMatchObject({ postern: { repeated: { count: 500 } } })
    expect(documents[7]).toMatchObject({ trace: { id: '0af7651916cd43dd8448eb211c80319c' } })
    expect(documents[8]).toMatchObject({ client: { ip: '::1', port: 5 } })
  })
})
