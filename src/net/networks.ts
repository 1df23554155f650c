// Membership of an address in networks. Pure.

import { BlockList, isIPv6 } from 'node:net'

/**
 * Tells whether an address lies in one of the networks; an IPv4 address mapped into IPv6 counts as IPv4.
 *
 * @param networks `10.0.0.0/8`, `2001:db8::/32`, or single addresses
 */
export function networkTest(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const network of networks) {
    const [address, bits] = network.split('/') as [string, string | undefined]
    const kind = isIPv6(address) ? 'ipv6' : 'ipv4'
    list.addSubnet(address, Number(bits ?? (kind === 'ipv6' ? 128 : 32)), kind)
  }
  return (address) => {
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
    return list.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4')
  }
}
