// The object that an `Object{…}` expression of a MutatingAdmissionPolicy makes. The expression is read by a CEL parser; each
// message must be named after its place (`Object.spec.volumes`), as the API server demands.
import { parse } from '@bufbuild/cel'

type Expression = NonNullable<ReturnType<typeof parse>['expr']>

// Manifests are read by tests that know what they look for.
// biome-ignore lint/suspicious/noExplicitAny: as in manifest.ts
export function objectOf(expression: string): any {
  return value(parse(expression).expr!, 'Object')
}

function value({ exprKind }: Expression, place: string): unknown {
  switch (exprKind.case) {
    case 'constExpr': {
      const { value } = exprKind.value.constantKind
      return typeof value === 'bigint' ? Number(value) : value
    }
    case 'listExpr':
      return exprKind.value.elements.map((element) => value(element, place))
    case 'structExpr': {
      const { entries, messageName } = exprKind.value
      if (messageName !== '' && messageName !== place) throw new Error(`${messageName} stands at ${place}`)
      return Object.fromEntries(
        entries.map(({ keyKind, value: entry }) => {
          const isField = keyKind.case === 'fieldKey'
          if (isField !== (messageName !== ''))
            throw new Error(`${place}: a field in a map, or a key in an object`)
          const name = isField ? keyKind.value : (value(keyKind.value as Expression, place) as string)
          return [name, value(entry!, `${place}.${name}`)]
        }),
      )
    }
    default:
      throw new Error(`${place}: ${exprKind.case} is no object`)
  }
}

/** Places whose keys are data. */
const MAPS = new Set(['labels', 'requests', 'limits', 'matchLabels'])

/** The other way: the expression that makes this object. */
export function initializerOf(object: unknown, place = 'Object'): string {
  if (Array.isArray(object)) return `[${object.map((item) => initializerOf(item, place)).join(', ')}]`
  if (typeof object !== 'object' || object === null || MAPS.has(place.split('.').at(-1)!))
    return JSON.stringify(object)
  const fields = Object.entries(object).map(
    ([name, item]) => `${name}: ${initializerOf(item, `${place}.${name}`)}`,
  )
  return `${place}{${fields.join(', ')}}`
}
