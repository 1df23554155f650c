// The published package and the file tree of the image, assembled from what is installed here: no registry is asked.
import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, realpath, stat, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Packed {
  /** Path of the `.tgz`. */
  file: string
  /** SHA-512 as npm writes it. */
  integrity: string
  files: readonly string[]
}

/** What the package is made of. */
const SOURCES = [
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'cmd',
  'src',
  'docs',
  'README.md',
  'LICENSE',
]

/** `npm pack`, which builds first, in a copy: another test may build in this checkout meanwhile. */
export async function packPostern(directory: string): Promise<Packed> {
  const copy = join(directory, 'checkout')
  await mkdir(copy, { recursive: true })
  for (const source of SOURCES) await cp(source, join(copy, source), { recursive: true })
  await symlink(await realpath('node_modules'), join(copy, 'node_modules'))
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', directory], { cwd: copy })
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [
    { filename: string; integrity: string; files: { path: string }[] },
  ]
  return {
    file: join(directory, packed.filename),
    integrity: packed.integrity,
    files: packed.files.map(({ path }) => path),
  }
}

/** The package unpacked at `target`, and beside it every run-time package that it needs, and no other. */
export async function installTree(packed: Packed, target: string): Promise<void> {
  await mkdir(target, { recursive: true })
  await run('tar', ['-xzf', packed.file, '-C', target, '--strip-components=1'])
  const manifest = await manifestOf(target)
  const waiting = Object.keys(manifest.dependencies ?? {}).map((name) => ({ name, from: process.cwd() }))
  const done = new Set<string>()
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const found = await packageDirectory(next.name, next.from)
    if (done.has(found)) continue
    done.add(found)
    const place = found.slice(found.indexOf('/node_modules/') + 1)
    await cp(found, join(target, place), {
      recursive: true,
      filter: (path) => !path.slice(found.length).includes('/node_modules'),
    })
    const { dependencies = {} } = await manifestOf(found)
    waiting.push(...Object.keys(dependencies).map((name) => ({ name, from: found })))
  }
}

/**
 * The tree of deploy/Dockerfile's last stage: Node.js with its libraries, the package, and places to mount.
 *
 * @param installed what `installTree` made
 */
export async function imageTree(installed: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true })
  await run('cp', ['-al', installed, join(target, 'app')])
  const packages = join(target, 'app/node_modules')
  await run('find', [packages, '(', '-name', '*.map', '-o', '-name', '*.d.ts', ')', '-delete'])
  const node = await realpath(process.execPath)
  await mkdir(join(target, 'nodejs/bin'), { recursive: true })
  await cp(node, join(target, 'nodejs/bin/node'))
  const { stdout } = await run('ldd', [node])
  for (const [, library] of stdout.matchAll(/(\/\S+) \(0x/g)) {
    await mkdir(join(target, dirname(library!)), { recursive: true })
    await cp(library!, join(target, library!), { dereference: true })
  }
  for (const place of ['etc/postern', 'var/lib/postern'])
    await mkdir(join(target, place), { recursive: true })
}

interface Manifest {
  dependencies?: Record<string, string>
}

async function manifestOf(directory: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as Manifest
}

/** As Node.js finds it: the nearest node_modules upwards. */
async function packageDirectory(name: string, from: string): Promise<string> {
  for (let directory = from; ; directory = dirname(directory)) {
    const candidate = join(directory, 'node_modules', name)
    const exists = await stat(join(candidate, 'package.json')).then(
      () => true,
      () => false,
    )
    if (exists) return candidate
    if (directory === dirname(directory)) throw new Error(`${name}, needed from ${from}, is not installed`)
  }
}
