// Waits for the files that a configuration names and that are not there yet: in Kubernetes a Secret may come later than
// the pod. /livez is good and /readyz says what is missing meanwhile, so that nothing restarts without words.

import { constants, readFileSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { systemClock } from '../src/clock.ts'
import type { Config } from '../src/config/config.ts'
import { PosternError } from '../src/errors.ts'
import { AdminServer } from '../src/telemetry/admin.ts'
import { createLogger } from '../src/telemetry/logger.ts'
import { loadFile } from './config-file.ts'
import { EXIT } from './exit.ts'

const LOOK_AGAIN_MS = 1_000
/** What stands for a secret that is not there, so that the rest of the configuration can be read. */
const PLACEHOLDER = 'missing'

/**
 * Resolves when every file is there, or when the configuration has other problems, which the caller will find too.
 * Without an admin listener there is nobody to tell: resolves at once.
 */
export async function waitForFiles(file: string): Promise<void> {
  let found = await look(file)
  const admin = found?.config.admin
  if (found === undefined || admin === undefined || found.missing.length === 0) return
  const logger = createLogger({ level: found.config.log.level, clock: systemClock })
  const server = new AdminServer({
    address: admin.address,
    metrics: { contentType: 'text/plain; version=0.0.4', render: async () => 'postern_ready 0\n' },
    checks: [{ name: 'files', ok: () => sentence(found?.missing ?? []) }],
  })
  await server.listen().catch((error: unknown) => {
    if (error instanceof PosternError) logger.error({ err: error }, error.message)
    else throw error
  })
  // As the first process of a container nothing ends us by default.
  const end = (): void => process.exit(EXIT.OK)
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  let said = ''
  while (found !== undefined && found.missing.length > 0) {
    if (said !== sentence(found.missing)) {
      said = sentence(found.missing)
      logger.error({ files: found.missing }, said)
    }
    await new Promise<void>((resolve) => systemClock.after(LOOK_AGAIN_MS, resolve))
    found = await look(file)
  }
  process.off('SIGTERM', end)
  process.off('SIGINT', end)
  await server.close()
}

function sentence(files: readonly string[]): string {
  return `Waiting for ${files.join(', ')}: not there or not readable. Create the Secret or ConfigMap that holds it.`
}

async function look(file: string): Promise<{ config: Config; missing: string[] } | undefined> {
  const missing: string[] = []
  const loaded = loadFile(file, (path) => {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      missing.push(path)
      return PLACEHOLDER
    }
  })
  if (loaded === undefined || 'problems' in loaded) return undefined
  for (const path of filesIn(loaded.config)) {
    const readable = await access(path, constants.R_OK).then(
      () => true,
      () => false,
    )
    if (!readable) missing.push(path)
  }
  return { config: loaded.config, missing }
}

/** Every file that the configuration names to be read: keys that end in `File`, the policy, and key sets. */
function filesIn(value: object, key = ''): string[] {
  return Object.entries(value).flatMap(([name, inner]) => {
    if (typeof inner === 'object' && inner !== null) return filesIn(inner, name)
    const isRead = name.endsWith('File') || (name === 'file' && ['policy', 'jwks'].includes(key))
    return isRead && typeof inner === 'string' ? [inner] : []
  })
}
