// Cores that are a part of one: control groups of the kernel (v1 `cpu`, or v2) hold a proxy to so much CPU time, while
// source and sink have the rest of the machine. So two cores can show what a second worker is worth. Needs root.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const PREFIX = 'postern-bench-'
/** What a process may use is handed out so often. More often, and each pause costs it a part of what it has in the caches. */
const PERIOD_US = 100_000
const REMOVING_TRIES = 100
const REMOVING_MS = 20

interface Hierarchy {
  root: string
  version: 1 | 2
}

let made = 0

/** The cores that one program may use, each process of it one. */
export class SmallCores {
  readonly #share: number
  readonly #hierarchy: Hierarchy
  readonly #root: string

  private constructor(share: number, hierarchy: Hierarchy, root: string) {
    this.#share = share
    this.#hierarchy = hierarchy
    this.#root = root
  }

  /**
   * @param share of a real core
   * @param count cores that all processes of the program have together
   * @throws Error whose message says why this machine cannot do it
   */
  static make(share: number, count: number): SmallCores {
    const hierarchy = findHierarchy()
    removeAbandoned(hierarchy.root)
    const root = join(hierarchy.root, `${PREFIX}${process.pid}-${++made}`)
    const cores = new SmallCores(share, hierarchy, root)
    try {
      if (hierarchy.version === 2) writeFileSync(join(hierarchy.root, 'cgroup.subtree_control'), '+cpu')
      mkdirSync(root)
      if (hierarchy.version === 2) writeFileSync(join(root, 'cgroup.subtree_control'), '+cpu')
      cores.#limit(root, share * count)
      mkdirSync(join(root, 'start'))
      return cores
    } catch (error) {
      removeGroups(root)
      throw new Error(`no control group can be made: ${(error as Error).message}`, { cause: error })
    }
  }

  /** The command that runs the same program among the processes of these cores. */
  enter(command: string, args: readonly string[]): { command: string; args: string[] } {
    const procs = join(this.#root, 'start', 'cgroup.procs')
    return { command: 'sh', args: ['-c', 'echo $$ > "$0" && exec "$@"', procs, command, ...args] }
  }

  /** From here on each of the processes has one core, and all have no more than there are. */
  hold(pids: readonly number[]): void {
    for (const pid of pids) {
      const group = join(this.#root, `process-${pid}`)
      mkdirSync(group)
      this.#limit(group, this.#share)
      writeFileSync(join(group, 'cgroup.procs'), String(pid))
    }
  }

  /** After the program has ended. */
  async remove(): Promise<void> {
    for (let tries = 0; tries < REMOVING_TRIES && !removeGroups(this.#root); tries++) {
      await new Promise((resolve) => setTimeout(resolve, REMOVING_MS))
    }
  }

  #limit(group: string, cores: number): void {
    const quota = Math.round(cores * PERIOD_US)
    if (this.#hierarchy.version === 2) return writeFileSync(join(group, 'cpu.max'), `${quota} ${PERIOD_US}`)
    writeFileSync(join(group, 'cpu.cfs_period_us'), String(PERIOD_US))
    writeFileSync(join(group, 'cpu.cfs_quota_us'), String(quota))
  }
}

/** Why proxies cannot be given small cores here; undefined: they can. */
export async function whyNoSmallCores(): Promise<string | undefined> {
  try {
    await SmallCores.make(0.5, 1).remove()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

function findHierarchy(): Hierarchy {
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, root = '', type, options = ''] = line.split(' ')
    if (type === 'cgroup' && options.split(',').includes('cpu')) return { root, version: 1 }
    if (type !== 'cgroup2') continue
    const controllers = readFileSync(join(root, 'cgroup.controllers'), 'utf8')
    if (controllers.split(/\s/).includes('cpu')) return { root, version: 2 }
  }
  throw new Error('no control groups for CPU time are mounted')
}

/** Those of a benchmark that was killed. */
function removeAbandoned(root: string): void {
  for (const name of readdirSync(root)) {
    const pid = name.startsWith(PREFIX) ? name.slice(PREFIX.length).split('-')[0] : undefined
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) removeGroups(join(root, name))
  }
}

/** @returns false: a process in them has not ended */
function removeGroups(root: string): boolean {
  if (!existsSync(root)) return true
  try {
    for (const entry of readdirSync(root, { withFileTypes: true })) {
      if (entry.isDirectory()) rmdirSync(join(root, entry.name))
    }
    rmdirSync(root)
    return true
  } catch {
    return false
  }
}
