package outbound

import "net/netip"

// reserved4 are the IPv4 ranges that are not the public internet (IANA special
// purpose registry).
var reserved4 = prefixes(
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // carrier-grade NAT
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local, cloud metadata
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // 6to4 relays
	"192.168.0.0/16",  // private
	"198.18.0.0/15",   // benchmarking
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, broadcast
)

// global6 is the only IPv6 range that is handed out to hosts. Loopback,
// unspecified, unique local, site-local, link-local, multicast and
// IPv4-compatible addresses are outside.
var global6 = netip.MustParsePrefix("2000::/3")

// reserved6 are the parts of global6 that are not the public internet. Teredo
// (inside 2001::/23) and 6to4 carry an IPv4 address that a relay would reach on
// our behalf; no server lives there, so they are refused whole.
var reserved6 = prefixes(
	"2001::/23",     // protocol assignments: Teredo, benchmarking, ORCHID
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4
	"3fff::/20",     // documentation
)

// nat64 leads to the IPv4 address in its last four bytes (RFC 6052). A machine
// with IPv6 alone reaches all IPv4 hosts through it.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// Public reports whether an address belongs to the public internet. An address
// with a zone is in no prefix, and so is none.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap()
	if addr.Is4() {
		return !within(addr, reserved4)
	}
	if nat64.Contains(addr) {
		b := addr.As16()
		return Public(netip.AddrFrom4([4]byte(b[12:])))
	}
	return global6.Contains(addr) && !within(addr, reserved6)
}

func within(addr netip.Addr, list []netip.Prefix) bool {
	for _, prefix := range list {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
