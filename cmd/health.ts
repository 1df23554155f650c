// `postern health`: asks a running Postern of the same configuration how it is, for images that have no other program.

import { Command } from 'commander'
import { askAdmin } from '../src/telemetry/admin.ts'
import { readConfig } from './config-file.ts'
import { EXIT } from './exit.ts'

const HELP = `
Exit codes: 0 good, 1 not, and standard error says why; 64 wrong usage or configuration, or \`admin: off\`.

Example:
  postern health --config /etc/postern/postern.yaml --ready`

export function healthCommand(): Command {
  return new Command('health')
    .description('ask the admin listener of a running Postern whether it lives, or is ready')
    .requiredOption('-c, --config <file>', 'its configuration', process.env['POSTERN_CONFIG'])
    .option('--ready', 'ask whether agents can be served, not only whether the process answers')
    .addHelpText('after', HELP)
    .action(health)
}

async function health(options: { config: string; ready?: boolean }): Promise<void> {
  // A secret that is missing is for /readyz to say.
  const loaded = await readConfig(options.config, 'nobody was asked', () => 'not read')
  if (loaded === undefined) return
  const { admin } = loaded.config
  if (admin === undefined) {
    console.error('postern: `admin` is off: there is nobody to ask')
    process.exitCode = EXIT.USAGE
    return
  }
  const { status, body } = await askAdmin(admin.address, options.ready === true ? '/readyz' : '/livez')
  if (status === 200) return
  console.error(`postern: ${status === 0 ? 'no answer' : status}: ${body.trim()}`)
  process.exitCode = EXIT.FAILED
}
