// `npm run bench:micro`: each part alone, so that a regression has a place. `--smoke` only sees that they run.

await import('./wire/packet-reader.ts')
await import('./session/known-heads.ts')
await import('./identity/admission.ts')
await import('./session/message-tokens.ts')
await import('./policy/decision.ts')
await import('./audit/record.ts')
