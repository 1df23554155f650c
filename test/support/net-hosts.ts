// Hosts in network namespaces of their own, each behind a router namespace that forwards between them: a cluster's
// network in small. Needs root; touches nothing outside of the namespaces that it makes.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Host {
  readonly name: string
  readonly address: string
  /** Runs a program to its end, as this user if one is given, without any capability. */
  exec(
    options: { uid?: number; timeoutMs?: number },
    ...command: string[]
  ): Promise<{ code: number; output: string }>
  /** Starts a program; it ends with `close`. */
  start(
    options: { uid?: number; capabilities?: string; env?: NodeJS.ProcessEnv },
    ...command: string[]
  ): ChildProcess
  /** Whether a TCP connection can be made, from this address if one is given. */
  reaches(address: string, port: number, options?: { uid?: number; from?: string }): Promise<boolean>
}

export interface Network {
  hosts: ReadonlyMap<string, Host>
  /** Loads an nftables ruleset into the router, or with a name into a host. */
  nft(ruleset: string, host?: string): Promise<void>
  close(): Promise<void>
}

/** In the kernel's namespace an interface has at most 15 characters: numbers, not names. */
export async function openNetwork(names: readonly string[]): Promise<Network> {
  const id = `pst${process.pid}`
  const router = `${id}-net`
  const children = new Set<ChildProcess>()
  const made: string[] = []
  const ip = (...args: string[]) => run('ip', args)
  const inside = (namespace: string, ...args: string[]) => ip('netns', 'exec', namespace, ...args)
  const add = async (namespace: string): Promise<void> => {
    await ip('netns', 'add', namespace)
    made.push(namespace)
    await inside(namespace, 'ip', 'link', 'set', 'lo', 'up')
  }
  const close = async (): Promise<void> => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
    for (const namespace of made) await ip('netns', 'del', namespace)
  }
  const hosts = new Map<string, Host>()
  try {
    await add(router)
    // As a cluster's network does: forwards, and believes no source address that does not live behind the interface.
    for (const key of ['ip_forward', 'conf/all/rp_filter', 'conf/default/rp_filter']) {
      await inside(router, 'sh', '-c', `echo 1 > /proc/sys/net/ipv4/${key}`)
    }
    for (const [i, name] of names.entries()) {
      const namespace = `${id}-${name}`
      await add(namespace)
      const [outer, address, gateway] = [`veth${i}`, `10.77.${i}.2`, `10.77.${i}.1`]
      await ip(
        'link',
        'add',
        'eth0',
        'netns',
        namespace,
        'type',
        'veth',
        'peer',
        'name',
        outer,
        'netns',
        router,
      )
      await inside(router, 'ip', 'addr', 'add', `${gateway}/30`, 'dev', outer)
      await inside(router, 'ip', 'link', 'set', outer, 'up')
      await inside(namespace, 'ip', 'addr', 'add', `${address}/30`, 'dev', 'eth0')
      await inside(namespace, 'ip', 'link', 'set', 'eth0', 'up')
      await inside(namespace, 'ip', 'route', 'add', 'default', 'via', gateway)
      hosts.set(name, makeHost(name, namespace, address, children))
    }
  } catch (error) {
    await close()
    throw error
  }
  return {
    hosts,
    nft: async (ruleset, host) => {
      const child = execFile('ip', [
        'netns',
        'exec',
        host === undefined ? router : `${id}-${host}`,
        'nft',
        '-f',
        '-',
      ])
      let said = ''
      child.stderr!.on('data', (part) => {
        said += part
      })
      child.stdin!.end(ruleset)
      const [code] = await once(child, 'close')
      if (code !== 0) throw new Error(said)
    },
    close,
  }
}

function makeHost(name: string, namespace: string, address: string, children: Set<ChildProcess>): Host {
  const start: Host['start'] = ({ uid, capabilities, env }, ...command) => {
    const kept =
      capabilities === undefined ? [] : [`--inh-caps=+${capabilities}`, `--ambient-caps=+${capabilities}`]
    const as =
      uid === undefined
        ? []
        : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', ...kept, '--']
    const child = spawn('ip', ['netns', 'exec', namespace, ...as, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(env === undefined ? {} : { env }),
    })
    children.add(child)
    return child
  }
  const exec: Host['exec'] = async ({ uid, timeoutMs = 30_000 }, ...command) => {
    const child = start(uid === undefined ? {} : { uid }, ...command)
    let output = ''
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (part) => {
        output += part
      })
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    const [code] = await once(child, 'close')
    clearTimeout(timer)
    return { code: (code as number | null) ?? -1, output }
  }
  return {
    name,
    address,
    start,
    exec,
    reaches: async (to, port, { uid, from } = {}) => {
      // Perl is on every Debian, and readable for every user.
      const local = from === undefined ? '' : `LocalAddr => '${from}',`
      const script = `IO::Socket::INET->new(PeerAddr => '${to}', PeerPort => ${port}, ${local} Timeout => 1) or exit 1`
      const { code } = await exec(
        uid === undefined ? {} : { uid },
        'perl',
        '-MIO::Socket::INET',
        '-e',
        script,
      )
      return code === 0
    },
  }
}
