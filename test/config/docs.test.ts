// docs/config.schema.json and docs/configuration.md are made from the schema: `npx vitest run test/config -u` writes them.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { configJsonSchema, type SchemaNode } from '../../src/config/schema.ts'

const INTRODUCTION = `# Configuration

<!-- Made from src/config/schema.ts by \`npx vitest run test/config -u\`; do not edit. -->

One YAML or JSON file, given with \`--config\`. Unknown keys, wrong values and contradictions are reported all at once,
each with file, line, key and what to write instead, before anything is bound. \`postern check --config FILE\` prints the
effective configuration with secrets replaced. [config.schema.json](config.schema.json) is the same as JSON Schema, for
editors: \`# yaml-language-server: $schema=…/config.schema.json\`.

- Durations are a whole number with a unit: \`500ms\`, \`5s\`, \`15m\`, \`24h\`. Sizes are bytes, or have a unit: \`65536\`,
  \`16KiB\`, \`8MiB\`.
- Addresses are \`host:port\`, \`"[::1]:1883"\` (in quotes, because YAML would read a list) or \`unix:/path\`.
- Relative paths start at the directory of the configuration file.
- Every key can be set by an environment variable, which wins over the file: \`POSTERN_\`, the path in upper snake case,
  two underscores between levels, as \`POSTERN_LIMITS__CONNECT_BYTES=20KiB\` or \`POSTERN_ISSUERS__0__ISSUER=…\`. Lists and
  maps are YAML in one line: \`POSTERN_ISSUERS__0__ALGORITHMS='[ES256]'\`. An empty variable counts as absent. An unknown
  \`POSTERN_\` variable is an error, except \`POSTERN_CONFIG\` and the ones that Kubernetes and Docker make for a service of
  that name (\`POSTERN_SERVICE_HOST\`, \`POSTERN_PORT_1883_TCP\` …).
`

function formatted(json: unknown): string {
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

function tables(node: SchemaNode, path: string): string[] {
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

it('docs/config.schema.json is in step with the schema', async () => {
  await expect(formatted(configJsonSchema)).toMatchFileSnapshot('../../docs/config.schema.json')
})

it('docs/configuration.md is in step with the schema', async () => {
  const text = `${INTRODUCTION}\n## Top level\n\n${tables(configJsonSchema, '').join('\n')}\n`
  await expect(text).toMatchFileSnapshot('../../docs/configuration.md')
})

it('every key says what it is for', () => {
  const silent = (node: SchemaNode, path: string): string[] =>
    Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
      const form = child.anyOf?.find((one) => one.properties !== undefined) ?? child
      return [
        ...(child.description ? [] : [`${path}.${key}`]),
        ...silent(form.items ?? form, `${path}.${key}`),
      ]
    })
  expect(silent(configJsonSchema, '')).toEqual([])
})

it('deploy/examples/postern.yaml is a valid configuration without warnings', () => {
  const file = 'deploy/examples/postern.yaml'
  const result = loadConfig(readFileSync(file, 'utf8'), file, {}, () => 'secret')
  expect(result).toMatchObject({ config: {}, warnings: [] })
})
