// docs/config.schema.json and docs/configuration.md are made from the schema: `npx vitest run test/config -u` writes them.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { configJsonSchema } from '../../src/config/schema.ts'
import { loadStsConfig } from '../../src/config/sts-load.ts'
import { stsJsonSchema } from '../../src/config/sts-schema.ts'
import { formatted, silentKeys, tables } from '../support/schema-page.ts'

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

it('docs/config.schema.json is in step with the schema', async () => {
  await expect(formatted(configJsonSchema)).toMatchFileSnapshot('../../docs/config.schema.json')
})

it('docs/configuration.md is in step with the schema', async () => {
  const text = `${INTRODUCTION}\n## Top level\n\n${tables(configJsonSchema, '').join('\n')}\n`
  await expect(text).toMatchFileSnapshot('../../docs/configuration.md')
})

it.each([
  ['postern', configJsonSchema],
  ['sts', stsJsonSchema],
])('every key of %s.yaml says what it is for', (_, schema) => {
  expect(silentKeys(schema)).toEqual([])
})

const STS_INTRODUCTION = `# Configuration of postern sts

<!-- Made from src/config/sts-schema.ts by \`npx vitest run test/config -u\`; do not edit. -->

One YAML or JSON file, given with \`--config\`; [sts.schema.json](sts.schema.json) is the same as JSON Schema. What the
token endpoint is for, and a file to begin with: [identity.md](identity.md#the-token-endpoint). Durations, sizes, addresses
and paths are written as in [configuration.md](configuration.md); no environment variable is read.
`

it('docs/sts.schema.json and docs/sts-configuration.md are in step with the schema', async () => {
  await expect(formatted(stsJsonSchema)).toMatchFileSnapshot('../../docs/sts.schema.json')
  const text = `${STS_INTRODUCTION}\n## Top level\n\n${tables(stsJsonSchema, '').join('\n')}\n`
  await expect(text).toMatchFileSnapshot('../../docs/sts-configuration.md')
})

it('deploy/examples/sts.yaml is a valid configuration without warnings', () => {
  const file = 'deploy/examples/sts.yaml'
  expect(loadStsConfig(readFileSync(file, 'utf8'), file)).toMatchObject({ config: {}, warnings: [] })
})

it.each(['postern', 'postern-sidecar'])(
  'deploy/examples/%s.yaml is a valid configuration without warnings',
  (name) => {
    const file = `deploy/examples/${name}.yaml`
    const result = loadConfig(readFileSync(file, 'utf8'), file, {}, () => 'secret')
    expect(result).toMatchObject({ config: {}, warnings: [] })
  },
)
