// The configuration of a worker, made from that of Postern, and its way to another process.

import type { Config } from '../config/config.ts'

/** What is to be one of its own for each worker: audit log, name in records, retained checkpoint. */
export function workerConfig(config: Config, name: string): Config {
  const { audit } = config
  const { topic } = audit.checkpoints
  return {
    ...config,
    instance: `${config.instance}.${name}`,
    audit: {
      ...audit,
      file: `${audit.file}.${name}`,
      checkpoints: { ...audit.checkpoints, topic: topic === undefined ? undefined : `${topic}/${name}` },
    },
    admin: undefined,
  }
}

/** As JSON, and not by structured clone, which gives maps of names the prototype that they must not have. */
export function writeConfig(config: Config): string {
  return JSON.stringify(config)
}

export function parseConfig(text: string): Config {
  return JSON.parse(text, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.assign(Object.create(null), value)
      : value,
  ) as Config
}
