// Other versions of Node.js for tests, out of the npm packages that hold their binaries.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const CACHE = resolve('node_modules/.cache/postern')

/** Path of this version's `node`; undefined where there is none for this machine. */
export async function nodeVersion(version: string): Promise<string | undefined> {
  const name = `node-${process.platform}-${process.arch}`
  const home = join(CACHE, `${name}-${version}`)
  if (!existsSync(home)) {
    await mkdir(CACHE, { recursive: true })
    const directory = await mkdtemp(join(CACHE, 'fetch-'))
    try {
      const { stdout } = await run('npm', [
        'pack',
        '--silent',
        '--pack-destination',
        directory,
        `${name}@${version}`,
      ])
      await run('tar', ['-xzf', join(directory, stdout.trim()), '-C', directory, 'package/bin/node'])
      await rename(join(directory, 'package'), home)
    } catch (error) {
      // Another process may have been quicker.
      if (!existsSync(home))
        return /E404|404 Not Found/.test(String(error)) ? undefined : Promise.reject(error)
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  }
  return join(home, 'bin/node')
}
