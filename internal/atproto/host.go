package atproto

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Hosts decides which names of hosts, found in documents and listings of the
// network, may be used at all. The dial-time guard of package outbound decides
// on addresses; this decides on the text.
type Hosts struct {
	// AllowPrivate accepts http, IP addresses, single-label names and any port
	// (development only).
	AllowPrivate bool
}

// Endpoint reads a PDS's service endpoint, "https://host[:port]" and nothing
// else (spec: did). It returns the canonical host, as it is compared and
// stored, and the base URL of requests to it, without a trailing slash.
//
// The host is lower-cased, without scheme; the scheme's own port is dropped.
// Another port is kept under AllowPrivate and refused otherwise, and so is http.
func (h Hosts) Endpoint(raw string) (host, base string, err error) {
	if len(raw) > 512 {
		return "", "", fmt.Errorf("endpoint of %d bytes: too long", len(raw))
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", fmt.Errorf("endpoint %q: %w", Clip(raw), err)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") || u.Opaque != "" {
		return "", "", fmt.Errorf("endpoint %q: wants https://host and nothing else", Clip(raw))
	}
	switch u.Scheme {
	case "https":
	case "http":
		if !h.AllowPrivate {
			return "", "", fmt.Errorf("endpoint %q: http is not allowed", Clip(raw))
		}
	default:
		return "", "", fmt.Errorf("endpoint %q: scheme %q is not https", Clip(raw), Clip(u.Scheme))
	}
	host, err = h.name(u.Hostname(), u.Port(), u.Scheme)
	if err != nil {
		return "", "", fmt.Errorf("endpoint %q: %w", Clip(raw), err)
	}
	return host, u.Scheme + "://" + host, nil
}

// BaseURL returns the base URL of requests to a canonical host; insecure is http.
func BaseURL(host string, insecure bool) string {
	if insecure {
		return "http://" + host
	}
	return "https://" + host
}

// Name reads a bare "host[:port]" as listHosts and did:web have it.
func (h Hosts) Name(raw string) (string, error) {
	if len(raw) > 260 {
		return "", fmt.Errorf("host name of %d bytes: too long", len(raw))
	}
	u, err := url.Parse("https://" + raw)
	if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("host %q: not a host name", Clip(raw))
	}
	host, err := h.name(u.Hostname(), u.Port(), "https")
	if err != nil {
		return "", fmt.Errorf("host %q: %w", Clip(raw), err)
	}
	return host, nil
}

func (h Hosts) name(host, port, scheme string) (string, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" {
		return "", fmt.Errorf("no host")
	}
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return "", fmt.Errorf("port %q", Clip(port))
		}
		if (scheme == "https" && n == 443) || (scheme == "http" && n == 80) {
			port = ""
		} else if !h.AllowPrivate {
			return "", fmt.Errorf("port %s is not allowed", port)
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if !h.AllowPrivate {
			return "", fmt.Errorf("an address instead of a name")
		}
		host = addr.String()
	} else if err := h.dns(host); err != nil {
		return "", err
	}
	if port == "" {
		if strings.Contains(host, ":") {
			return "[" + host + "]", nil
		}
		return host, nil
	}
	return net.JoinHostPort(host, port), nil
}

// reservedTLDs never name a host on the public network (spec: handle; RFC 6761).
var reservedTLDs = map[string]bool{
	"local": true, "arpa": true, "invalid": true, "localhost": true, "internal": true,
	"example": true, "onion": true, "alt": true, "test": true,
}

func (h Hosts) dns(host string) error {
	if len(host) > 253 {
		return fmt.Errorf("longer than 253 characters")
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return fmt.Errorf("not a DNS name")
		}
	}
	if h.AllowPrivate {
		return nil
	}
	tld := labels[len(labels)-1]
	if len(labels) < 2 || reservedTLDs[tld] || strings.Trim(tld, "0123456789") == "" {
		return fmt.Errorf("not a public name")
	}
	return nil
}
