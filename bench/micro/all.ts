// Each part alone, so that a regression has a place.

await import('./policy/decision.ts')
await import('./identity/admission.ts')
await import('./wire/packet-reader.ts')
await import('./session/known-heads.ts')
await import('./session/message-tokens.ts')
await import('./audit/record.ts')
