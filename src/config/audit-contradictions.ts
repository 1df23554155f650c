// Contradictions within the section `audit`. Pure.
import type { Contradiction, PartialConfig } from './contradictions.ts'
import type { Path } from './document.ts'
import { isLoopbackHost } from './fields.ts'

export function* auditContradictions({ audit, workers }: PartialConfig): Iterable<Contradiction> {
  if (audit === undefined) return
  const at = (...path: Path): Path => ['audit', ...path]
  const { checkpoints, copies } = audit
  const keyed = audit.payloadDigest === 'hmac' || audit.subjects === 'hmac'
  if (keyed && audit.digestKeyFile === undefined) {
    yield {
      path: at('digestKeyFile'),
      message: 'Missing. Keyed digests need a key: `postern audit keygen --digest FILE` makes one.',
    }
  }
  if (!keyed && audit.digestKeyFile !== undefined) {
    yield {
      path: at('digestKeyFile'),
      message: 'Nothing uses it: write `payloadDigest: hmac` or `subjects: hmac`, or remove it.',
    }
  }
  const exported = (['stdout', 'url', 'topic'] as const).find(
    (name) => checkpoints[name] !== undefined && checkpoints[name] !== false,
  )
  if (exported !== undefined && checkpoints.keyFile === undefined) {
    yield {
      path: at('checkpoints', 'keyFile'),
      message: `Missing. Without a key there is no checkpoint for \`${exported}\`: \`postern audit keygen\` makes one.`,
    }
  }
  if (audit.file === '-') {
    yield* standardOutputContradictions(audit, at)
    if (workers !== undefined && workers > 1) {
      yield {
        path: at('file'),
        others: [['workers']],
        message:
          'Each worker has a chain of its own, and standard output holds one: write a file (with `copies.stdout`, if records are to go there too), or `workers: 1`.',
      }
    }
  }
  for (const [path, url] of [
    [at('checkpoints', 'url'), checkpoints.url],
    [at('copies', 'otlp'), copies.otlp],
  ] as const) {
    const message = url === undefined ? undefined : urlProblem(url)
    if (message !== undefined) yield { path, message }
  }
  const syslog = copies.syslog === undefined ? undefined : syslogProblem(copies.syslog)
  if (syslog !== undefined) yield { path: at('copies', 'syslog'), message: syslog }
  for (const [path, topic] of [
    [at('checkpoints', 'topic'), checkpoints.topic],
    [at('copies', 'topic'), copies.topic],
  ] as const) {
    if (topic !== undefined && /[+#]/.test(topic)) {
      yield { path, message: 'A topic to publish to has no `+` and no `#`: write a plain topic.' }
    }
  }
}

function* standardOutputContradictions(
  audit: NonNullable<PartialConfig['audit']>,
  at: (...path: Path) => Path,
): Iterable<Contradiction> {
  if (audit.durability === 'write-ahead') {
    yield {
      path: at('durability'),
      others: [at('file')],
      message: 'Standard output is no disk: write a file for the log, or `async`.',
    }
  }
  if (audit.copies.stdout) {
    yield {
      path: at('copies', 'stdout'),
      others: [at('file')],
      message: 'The log itself goes to standard output already: remove this key.',
    }
  }
}

function syslogProblem(text: string): string | undefined {
  const url = URL.parse(text)
  const scheme = /^(udp|tcp|tls):$/.test(url?.protocol ?? '')
  const isWhole = scheme && url!.hostname !== '' && `${url!.protocol}//${url!.host}` === text
  return isWhole
    ? undefined
    : 'Write `udp://`, `tcp://` or `tls://`, a host and a port, such as `tls://logs.example:6514`.'
}

function urlProblem(text: string): string | undefined {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    return 'Write a whole address, such as `https://logs.example/postern`.'
  }
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    return 'Whoever sits on the way could read and change it: write `https://`. Plain HTTP is for loopback only.'
  }
  if (url.username !== '' || url.password !== '') {
    return 'Leave out the user name and password: a configuration is easily copied.'
  }
  return undefined
}
