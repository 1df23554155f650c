// NetworkPolicies as a router's nftables rules: a connection passes when the sender's policies let it out and the
// receiver's let it in, and a host that no policy selects is open (Kubernetes, "Network Policies").
import type { Manifest } from './manifest.ts'

export interface LabelledHost {
  address: string
  labels: Record<string, string>
}

interface Peer {
  podSelector?: { matchLabels?: Record<string, string> }
  namespaceSelector?: object
  ipBlock?: { cidr: string }
}
interface Rule {
  from?: Peer[]
  to?: Peer[]
  ports?: { protocol: string; port: number }[]
}

/** @param hosts all of the policies' namespace */
export function asNftables(policies: readonly Manifest[], hosts: readonly LabelledHost[]): string {
  const lines: string[] = []
  for (const from of hosts) {
    for (const to of hosts) {
      if (from === to) continue
      const out = portsBetween(policies, from, to, 'egress')
      const into = portsBetween(policies, to, from, 'ingress')
      for (const port of both(out, into)) {
        const match = port === undefined ? '' : ` tcp dport ${port}`
        lines.push(`ip saddr ${from.address} ip daddr ${to.address}${match} accept`)
      }
    }
  }
  return `table ip policies {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ${lines.join('\n    ')}
  }
}
`
}

/** Ports that the policies of `own` leave open towards `other`; undefined in the list: every port. */
function portsBetween(
  policies: readonly Manifest[],
  own: LabelledHost,
  other: LabelledHost,
  direction: 'ingress' | 'egress',
): (number | undefined)[] {
  const type = direction === 'ingress' ? 'Ingress' : 'Egress'
  const about = policies.filter(
    ({ spec }) => spec.policyTypes.includes(type) && selects(spec.podSelector, own),
  )
  if (about.length === 0) return [undefined]
  const rules = about.flatMap(({ spec }) => (spec[direction] ?? []) as Rule[])
  return rules
    .filter((rule) => {
      const peers = direction === 'ingress' ? rule.from : rule.to
      return peers === undefined || peers.some((peer) => isPeer(peer, other))
    })
    .flatMap(({ ports }) => (ports === undefined ? [undefined] : ports.map(({ port }) => port)))
}

function isPeer(peer: Peer, host: LabelledHost): boolean {
  if (peer.ipBlock !== undefined) return peer.ipBlock.cidr === '0.0.0.0/0'
  // Of another namespace; there is none here.
  if (peer.namespaceSelector !== undefined && Object.keys(peer.namespaceSelector).length > 0) return false
  return selects(peer.podSelector ?? {}, host)
}

function selects(
  { matchLabels = {} }: { matchLabels?: Record<string, string> },
  { labels }: LabelledHost,
): boolean {
  return Object.entries(matchLabels).every(([name, value]) => labels[name] === value)
}

function both(a: (number | undefined)[], b: (number | undefined)[]): (number | undefined)[] {
  if (a.includes(undefined)) return [...new Set(b)]
  if (b.includes(undefined)) return [...new Set(a)]
  return [...new Set(a)].filter((port) => b.includes(port))
}
