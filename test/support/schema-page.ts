// The pages that are made from the schema of a configuration file.
import { execFileSync } from 'node:child_process'
import type { SchemaNode } from '../../src/config/schema.ts'

export function formatted(json: unknown): string {
  // Formatted as the linter wants every JSON file of this repository.
  return execFileSync('node_modules/.bin/biome', ['format', '--stdin-file-path=config.schema.json'], {
    input: JSON.stringify(json),
    encoding: 'utf8',
  })
}

function typeOf(node: SchemaNode): string {
  if (node.enum !== undefined) return node.enum.map((value) => `\`${value}\``).join(', ')
  if (node.items?.enum !== undefined) return `list of ${typeOf(node.items)}`
  if (node.type === 'boolean') return '`true`, `false`'
  if (node.pattern?.includes('ms|s')) return 'duration'
  if (node.pattern?.includes('KiB')) return 'size'
  return [node.type ?? []].flat().join(' or ').replace('array', 'list').replace('object', 'map')
}

export function tables(node: SchemaNode, path: string): string[] {
  const rows: string[] = []
  const below: string[] = []
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    const form = child.anyOf?.find((one) => one.properties !== undefined) ?? child
    const section = form.items?.properties === undefined ? form : form.items
    const here = `${path === '' ? '' : `${path}.`}${key}${section === form ? '' : '[]'}`
    if (section.properties !== undefined) {
      below.push(`\n## ${here}\n\n${child.description}\n`, ...tables(section, here))
      continue
    }
    const required = node.required?.includes(key) === true
    const preset =
      child.default === undefined ? '' : `\`${JSON.stringify(child.default).replaceAll('"', '')}\``
    rows.push(
      `| \`${key}\` | ${typeOf(child)} | ${required ? '**required**' : preset} | ${child.description} |`,
    )
  }
  const head = rows.length === 0 ? [] : ['| key | values | default | meaning |', '| --- | --- | --- | --- |']
  return [...head, ...rows, ...below]
}

/** Keys without a description. */
export function silentKeys(node: SchemaNode, path = ''): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const form = child.anyOf?.find((one) => one.properties !== undefined) ?? child
    return [
      ...(child.description ? [] : [`${path}.${key}`]),
      ...silentKeys(form.items ?? form, `${path}.${key}`),
    ]
  })
}
