package health

import (
	"net/netip"
	"strings"
)

// HostKey returns the form of a host name under which the records of one machine meet, whoever reported them: the first
// DNS label in lower case, without a port or a trailing dot. "Web1.example.com.:9100" and "web1" give "web1".
//
// IP addresses stay whole, in their canonical form and without a port; an IPv4 address mapped into IPv6 is an IPv4
// address. A name that is none of these, such as "a:b:c", is only lowered and trimmed. Names of Kubernetes pods have one
// label and stay as they are. HostKey(HostKey(x)) is HostKey(x); an empty name gives an empty key.
func HostKey(name string) string {
	name = strings.ToLower(strings.TrimFunc(name, aroundHost))
	// Before the brackets go: they tell the port of an IPv6 address from its last part.
	if addr, err := netip.ParseAddrPort(name); err == nil {
		return addr.Addr().Unmap().String()
	}
	name = trimHost(name)
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.Unmap().String()
	}
	host, port, _ := strings.Cut(name, ":")
	if strings.Trim(port, "0123456789") != "" {
		return name
	}
	host = trimHost(host)
	// A port out of range hid this address from ParseAddrPort.
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String()
	}
	label, _, _ := strings.Cut(host, ".")
	return trimHost(label)
}

// aroundHost tells what surrounds a host name without being part of it: white space and the dots of absolute names.
func aroundHost(r rune) bool { return r == '.' || r == ' ' || (r >= '\t' && r <= '\r') }

// trimHost drops what surrounds a host name, the brackets of IPv6 addresses included.
func trimHost(name string) string {
	return strings.TrimFunc(name, func(r rune) bool { return aroundHost(r) || r == '[' || r == ']' })
}
