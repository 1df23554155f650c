// W3C Trace Context, as far as records carry it: `00-<32 hex>-<16 hex>-<2 hex>`.

export function traceIdOf(traceparent: string | undefined): string | undefined {
  return traceparent?.split('-')[1]
}
