// `postern audit keygen`, `prove` and `check-proof`: keys for checkpoints and digests, and proofs that need no log.

import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { formatRecord } from '../../src/audit/format.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { makeSigner } from '../../src/audit/signed-note.ts'
import { chainsOf, workerOfOrigin } from '../../src/evidence/chains.ts'
import { checkProof, parseProof, proveRecord } from '../../src/evidence/inclusion-proof.ts'
import { EXIT } from '../exit.ts'
import { collect, parseKeys, readNotes, unreadable, usage } from './options.ts'

const DIGEST_KEY_BYTES = 32

const KEYGEN_HELP = `
The signing key goes into FILE, for audit.checkpoints.keyFile; the verification key into FILE.pub and to standard
output: keep it where whoever writes the log cannot reach it. Nothing is overwritten. A new key in the
place of the former is noticed by itself; a record of the log says from where on it is in force.

Exit codes: 0 made, 2 a file exists or cannot be written, 64 wrong usage.

Examples:
  postern audit keygen --name edge-1.example/postern --out checkpoint.key
  postern audit keygen --digest --out digest.key`

const PROVE_HELP = `
Exit codes: 0 proven, 1 there is no proof, 2 a file cannot be read, 64 wrong usage.

Example:
  postern audit prove --seq 1200 --checkpoint newest.note --key verifier.pub audit.jsonl > proof.json
  postern audit check-proof --key verifier.pub proof.json`

export function keygenCommand(): Command {
  return new Command('keygen')
    .description('make a key that signs checkpoints, or one for keyed digests')
    .option('--name <name>', 'name of the log, such as edge-1.example/postern: origin of its checkpoints')
    .option('--digest', 'make a key for keyed digests instead')
    .requiredOption('--out <file>', 'where the secret key goes (mode 0600)')
    .addHelpText('after', KEYGEN_HELP)
    .action((options: { name?: string; digest?: boolean; out: string }, command: Command) => {
      if ((options.name === undefined) === (options.digest === undefined)) {
        command.error('error: write either --name or --digest')
      }
      try {
        if (options.name === undefined)
          secret(options.out, randomBytes(DIGEST_KEY_BYTES).toString('base64url'))
        else makeCheckpointKey(options.name, options.out)
      } catch (error) {
        if (error instanceof RangeError) usage(`${error.message}.`)
        const { code } = error as NodeJS.ErrnoException
        process.stderr.write(`${options.out} cannot be written: ${code}\n`)
        process.exitCode = 2
      }
    })
}

function makeCheckpointKey(name: string, file: string): void {
  const signer = makeSigner(name)
  secret(file, signer.privateText)
  writeFileSync(`${file}.pub`, `${signer.text}\n`, { flag: 'wx' })
  process.stdout.write(`${signer.text}\n`)
}

function secret(file: string, text: string): void {
  writeFileSync(file, `${text}\n`, { mode: 0o600, flag: 'wx' })
}

export function proveCommand(): Command {
  return new Command('prove')
    .description('prove that one record is in the log of a checkpoint')
    .argument('<file...>', 'audit logs, oldest first')
    .requiredOption('--seq <n>', 'sequence number of the record', parseSeq)
    .requiredOption('--checkpoint <file>', 'the signed checkpoint')
    .requiredOption('--key <key>', 'its verification key, or a file with such; may be repeated', collect)
    .addHelpText('after', PROVE_HELP)
    .action(async (files: string[], options: { seq: number; checkpoint: string; key: string[] }) => {
      try {
        const note = readNotes(options.checkpoint).at(-1) ?? ''
        const chains = chainsOf(files)
        const worker = workerOfOrigin(note.split('\n', 1)[0]!)
        const chain = chains.find((one) => one.worker === worker) ?? chains[0]!
        const proof = await proveRecord(chain.files, options.seq, note, parseKeys(options.key))
        if (typeof proof === 'string') {
          process.stderr.write(`${proof}\n`)
          process.exitCode = EXIT.FAILED
        } else process.stdout.write(`${JSON.stringify(proof, null, 2)}\n`)
      } catch (error) {
        process.exitCode = failed(options.checkpoint, error)
      }
    })
}

export function checkProofCommand(): Command {
  return new Command('check-proof')
    .description('check such a proof; needs no log')
    .argument('<file>', 'what `prove` printed')
    .requiredOption('--key <key>', 'verification key of the checkpoint, or a file with such', collect)
    .addHelpText('after', PROVE_HELP)
    .action((file: string, options: { key: string[] }) => {
      try {
        const proof = parseProof(readFileSync(file, 'utf8'))
        const checked = proof === undefined ? 'It is no proof.' : checkProof(proof, parseKeys(options.key))
        const good = typeof checked === 'object'
        process.stdout.write(good ? told(checked.records, checked.size) : `BAD ${checked}\n`)
        if (!good) process.exitCode = EXIT.FAILED
      } catch (error) {
        process.exitCode = failed(file, error)
      }
    })
}

function told(records: readonly AuditRecord[], size: number): string {
  const lines = records.map((record) => `    ${record.time.slice(0, 10)} ${formatRecord(record)}\n`)
  return `OK  record ${records[0]!.seq} is in the log of ${size} records:\n${lines.join('')}`
}

function failed(file: string, error: unknown): number {
  const { code, path } = error as NodeJS.ErrnoException
  if (code === undefined) throw error
  return unreadable(path ?? file, error)
}

function parseSeq(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('Write a number from 1 up.')
  return Number(text)
}
