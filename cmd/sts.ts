// `postern sts`: the token endpoint, a process of its own, and the keys it signs with.

import { writeFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import type { StsConfig } from '../src/config/sts-config.ts'
import { loadStsConfig } from '../src/config/sts-load.ts'
import { PosternError, type Problem } from '../src/errors.ts'
import {
  SIGNING_ALGORITHMS,
  type SigningAlgorithm,
  SigningKeys,
  writeNewKey,
} from '../src/sts/signing-keys.ts'
import { Sts } from '../src/sts/sts.ts'
import { problemLine, readText, refuse } from './config-file.ts'
import { EXIT, sentenceOf } from './exit.ts'

const HELP = `
Takes identity assertions (ID-JAG, draft-ietf-oauth-identity-assertion-authz-grant-05) of configured identity providers
and issues short-lived access tokens, in which the human is \`sub\` and the agent is \`act\`. Its own configuration file:
docs/sts-configuration.md. It answers POST /token, GET /.well-known/jwks.json, GET /.well-known/oauth-authorization-server,
/livez and /readyz.`

const RUN_HELP = `
Signals:
  SIGHUP            read keys, secrets and certificates again (a changed file is noticed by itself)
  SIGTERM, SIGINT   answer what was asked, then end

Exit codes: 0 ended by a signal, 1 could not start, 64 wrong usage or configuration.

Example:
  postern sts run --config sts.yaml`

const CHECK_HELP = `
Exit codes: 0 usable, 64 not usable.

Example:
  postern sts check --config sts.yaml`

const KEYGEN_HELP = `
The file holds private keys: nobody else may read it. The first key signs; the one before it stays published, so that
its tokens stay good. A running \`postern sts\` notices the change. Rotate no more often than tokens live.

Exit codes: 0 done, 1 there is a key already (or none, with --rotate), 64 wrong usage.

Examples:
  postern sts keygen sts-keys.json
  postern sts keygen --rotate sts-keys.json
  postern sts keygen scout-client.json --public scout-client.jwks.json`

const EXAMPLES = `
Exit codes: 0 done, 1 failed, 64 wrong usage or configuration.

Examples:
  postern sts keygen sts-keys.json
  postern sts check --config sts.yaml
  postern sts run --config sts.yaml`

interface KeygenOptions {
  alg: SigningAlgorithm
  rotate?: boolean
  public?: string
}

export function stsCommand(): Command {
  const sts = new Command('sts')
    .description('token endpoint: assertions of an identity provider to tokens for agents')
    .addHelpText('after', `${HELP}\n${EXAMPLES}`)
  sts
    .command('run')
    .description('serve until a signal ends it')
    .requiredOption('-c, --config <file>', 'configuration, YAML or JSON')
    .addHelpText('after', RUN_HELP)
    .action((options: { config: string }) => run(options.config))
  sts
    .command('check')
    .description('validate the configuration; binds and reads nothing else')
    .requiredOption('-c, --config <file>', 'configuration, YAML or JSON')
    .addHelpText('after', CHECK_HELP)
    .action((options: { config: string }) => {
      const loaded = readStsConfig(options.config, 'not usable')
      if (loaded === undefined) return
      for (const warning of loaded.warnings) console.error(`warning: ${problemLine(warning)}`)
      console.error('postern: usable')
    })
  sts
    .command('keygen <file>')
    .description('make a signing key')
    .addOption(new Option('--alg <name>', 'algorithm').choices(SIGNING_ALGORITHMS).default('ES256'))
    .option('--rotate', 'put a new key in front of the one that signs now')
    .option('--public <file>', 'write the public keys too: `jwks.file` of a client with `private_key_jwt`')
    .addHelpText('after', KEYGEN_HELP)
    .action(async (file: string, options: KeygenOptions) => {
      console.log(await writeNewKey(file, options.alg, options.rotate === true))
      if (options.public === undefined) return
      const { published } = await SigningKeys.open(file)
      writeFileSync(options.public, `${JSON.stringify(published, undefined, 2)}\n`)
    })
  return sts
}

function readStsConfig(
  file: string,
  consequence: string,
): { config: StsConfig; warnings: Problem[] } | undefined {
  const read = readText(file)
  if (read === undefined) return undefined
  const loaded = loadStsConfig(read.text, read.path)
  if ('config' in loaded) return loaded
  refuse(loaded.problems, consequence)
  return undefined
}

async function run(file: string): Promise<void> {
  const loaded = readStsConfig(file, 'nothing was bound')
  if (loaded === undefined) return
  const sts = new Sts(loaded.config)
  for (const warning of loaded.warnings) sts.logger.warn({ warning: problemLine(warning) }, 'configuration')
  let isRunning = false
  process.on('SIGHUP', () => void sts.reload())
  const end = (): void => {
    if (!isRunning) process.exit(EXIT.FAILED)
    isRunning = false
    void stop(sts)
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  try {
    await sts.start()
    isRunning = true
  } catch (error) {
    if (!(error instanceof PosternError)) throw error
    console.error(`postern: ${sentenceOf(error)}`)
    process.exitCode = EXIT.FAILED
  }
}

async function stop(sts: Sts): Promise<void> {
  try {
    await sts.stop()
  } catch (error) {
    sts.logger.error({ err: error }, 'audit records are lost')
    process.exitCode = EXIT.FAILED
  }
}
