// Which claim values may become identities and parts of topics. Values are compared as exact UTF-8 bytes and never
// decoded, trimmed or folded. RFC 8693 §4.1; CVE-2017-7650.

import { compileFilter, hasControlCharacter } from '../policy/topic-filter.ts'

/** A non-empty string without control characters (C0, DEL, C1), so that records and headers stay one line. */
export function isIdentity(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !hasControlCharacter(value)
}

/** Exactly one topic level with no special meaning: an identity without `/`, `+`, `#` and without a leading `$`. */
export function isTopicLevel(value: unknown): value is string {
  return isIdentity(value) && !/[/+#]|^\$/.test(value)
}

/** A valid Topic Filter, with or without wildcards. MQTT 5.0 §4.7.1. */
export function isTopicFilter(value: unknown): value is string {
  return typeof value === 'string' && typeof compileFilter(value) !== 'string'
}
