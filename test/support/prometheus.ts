// A real Prometheus for tests: private directory, loopback only, a short scrape interval, gone with `stop`.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from '../../src/dev/free-port.ts'

export interface Sample {
  metric: Record<string, string>
  value: [number, string]
}

export interface Prometheus {
  query(expression: string): Promise<Sample[]>
  /** The `data` of an API answer. */
  api(path: string): Promise<unknown>
  /** Resolves when the expression returns something. */
  until(expression: string): Promise<Sample[]>
  stop(): Promise<void>
}

/** @param target `host:port` to scrape */
export async function startPrometheus(
  executable: string,
  target: string,
  rules: string,
): Promise<Prometheus> {
  const directory = await mkdtemp(join(tmpdir(), 'postern-prometheus-'))
  const port = await freePort()
  const config = {
    global: { scrape_interval: '200ms', evaluation_interval: '200ms' },
    rule_files: [resolve(rules)],
    scrape_configs: [{ job_name: 'postern', static_configs: [{ targets: [target] }] }],
  }
  await writeFile(join(directory, 'prometheus.yml'), JSON.stringify(config))
  const child = spawn(
    executable,
    [
      `--config.file=${directory}/prometheus.yml`,
      `--storage.tsdb.path=${directory}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const log: string[] = []
  await new Promise<void>((ready, failed) => {
    createInterface({ input: child.stderr! }).on('line', (line) => {
      log.push(line)
      if (line.includes('Server is ready')) ready()
    })
    child.once('exit', () => failed(new Error(log.slice(-5).join('\n'))))
  })
  const api = async (path: string): Promise<unknown> => {
    const answer = (await (await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)).json()) as {
      status: string
      error?: string
      data: unknown
    }
    if (answer.status !== 'success') throw new Error(`${path}: ${answer.error}`)
    return answer.data
  }
  const query = async (expression: string): Promise<Sample[]> => {
    const data = (await api(`query?query=${encodeURIComponent(expression)}`)) as { result: Sample[] }
    return data.result
  }
  return {
    query,
    api,
    until: async (expression) => {
      for (;;) {
        const found = await query(expression)
        if (found.length > 0) return found
        // Another process: there is no event to wait for.
        await new Promise((again) => setTimeout(again, 100))
      }
    },
    stop: () => end(child, directory),
  }
}

async function end(child: ChildProcess, directory: string): Promise<void> {
  if (child.exitCode === null) {
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    await exited
  }
  await rm(directory, { recursive: true, force: true })
}
