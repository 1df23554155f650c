// What is wrong with a file, as findings: each names a key and says what to write. From the issues of a schema, whichever
// file it is of. A finding never holds the value. Pure.
import type { z } from 'zod'
import type { Problem } from '../errors.ts'
import type { Path } from './document.ts'
import type { SchemaNode } from './schema.ts'
import { suggest } from './suggestion.ts'

export type Finding = { path: Path; message: string }

export function byPlace(a: Problem, b: Problem): number {
  return (a.line ?? Number.MAX_SAFE_INTEGER) - (b.line ?? Number.MAX_SAFE_INTEGER)
}

/** One zod issue as sentences that never hold the value. */
export function explain(issue: z.core.$ZodIssue, root: unknown, schema: SchemaNode): Finding[] {
  const path = issue.path as Path
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key], message: unknownKey(path, key, schema) }))
  }
  const value = valueAt(root, path)
  if (
    issue.code === 'invalid_union' &&
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value)
  ) {
    // By convention the last form of a union is the section.
    return (issue.errors.at(-1) ?? []).flatMap((inner) =>
      explain({ ...inner, path: [...path, ...inner.path] }, root, schema),
    )
  }
  if (value === null)
    return [{ path, message: `Empty. Remove the key, or give it a value. ${issue.message}` }]
  return [{ path, message: value === undefined ? `Missing. ${issue.message}` : issue.message }]
}

function unknownKey(path: Path, key: string, schema: SchemaNode): string {
  const here = schemaAt(path, schema)?.properties ?? {}
  const near = suggest(key, Object.keys(here))
  if (near !== undefined) return `There is no such key. Did you mean \`${near}\`?`
  const elsewhere = pathsOf(schema).find((candidate) => candidate.split('.').at(-1) === key)
  if (elsewhere !== undefined) return `There is no such key here. Did you mean \`${elsewhere}\`?`
  return `There is no such key. Known here: ${Object.keys(here).join(', ')}.`
}

function schemaAt(path: Path, schema: SchemaNode): SchemaNode | undefined {
  let node: SchemaNode | undefined = schema
  for (const segment of path) {
    const form: SchemaNode | undefined = node?.anyOf?.find((one) => one.properties !== undefined) ?? node
    node = typeof segment === 'number' ? form?.items : form?.properties?.[segment]
  }
  return node?.anyOf?.find((one) => one.properties !== undefined) ?? node
}

function pathsOf(node: SchemaNode, prefix = ''): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => [
    `${prefix}${key}`,
    ...pathsOf(child.items ?? child, `${prefix}${key}${child.items === undefined ? '' : '[]'}.`),
  ])
}

export function valueAt(root: unknown, path: Path): unknown {
  let value = root
  for (const segment of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, segment)) return undefined
    value = (value as Record<string | number, unknown>)[segment]
  }
  return value
}
