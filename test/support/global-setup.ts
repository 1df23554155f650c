// Vitest runs this once, before any worker: the suite needs a real Mosquitto and a real Redis, and only this process
// installs them. Of the tools of the deployment tests, those that cannot be installed here are named; their tests are
// skipped.
import { findOrInstall } from '../../src/dev/debian-package.ts'
import { findOrInstallMosquitto } from '../../src/dev/mosquitto-install.ts'
import { findChromium } from './chromium.ts'
import { kubernetesTools } from './kubernetes-tools.ts'

const TOOLS = [
  ['prometheus', 'prometheus'],
  ['promtool', 'prometheus'],
  ['ip', 'iproute2'],
  ['nft', 'nftables'],
] as const

export async function setup(): Promise<void> {
  const log = (line: string): void => console.log(line)
  await findOrInstallMosquitto({ log })
  await findOrInstall('redis-server', 'redis-server', { log })
  await kubernetesTools().catch((error: Error) => log(`helm and kubectl cannot be fetched: ${error.message}`))
  // It has another name elsewhere.
  const tools = findChromium() === undefined ? [...TOOLS, ['chromium', 'chromium'] as const] : TOOLS
  for (const [program, debianPackage] of tools) {
    await findOrInstall(program, debianPackage, { log }).catch((error: Error) =>
      log(`${error.message} Tests are skipped.`),
    )
  }
}
