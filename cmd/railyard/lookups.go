package main

import (
	"flag"
	"strings"
	"time"

	"railyard/internal/atproto"
	"railyard/internal/identity"
	"railyard/internal/outbound"
	"railyard/internal/pds"
)

// lookups is how the commands without an index reach the network.
type lookups struct {
	plcURL       string
	plcQPS       float64 // 0: no bound
	allowPrivate bool
	repoTimeout  time.Duration
	host         string // asked instead of each PDS; may be empty
}

func (l *lookups) flags(fs *flag.FlagSet) {
	fs.StringVar(&l.plcURL, "plc-url", "https://plc.directory", "the PLC directory")
	fs.BoolVar(&l.allowPrivate, "allow-private-hosts", false, "development: allow http, private addresses and any port")
}

func (l *lookups) validate(command string) error {
	if base, err := serverURL(l.plcURL); err != nil {
		return usagef("%s: --plc-url %q: %v", command, l.plcURL, err)
	} else if base != strings.TrimSuffix(l.plcURL, "/") {
		return usagef("%s: --plc-url %q: wants http or https, a host and nothing else", command, l.plcURL)
	}
	if l.host != "" {
		base, err := serverURL(l.host)
		if err != nil {
			return usagef("%s: --pds %q: %v", command, l.host, err)
		}
		l.host = base
	}
	return nil
}

// clients makes the guarded client and what asks through it. The caller closes
// the first.
func (l *lookups) clients() (*outbound.Client, *identity.Resolver, *pds.Client, error) {
	var exempt []string // what the operator names
	for _, server := range []string{l.plcURL, l.host} {
		if server == "" {
			continue
		}
		hostPort, err := outbound.HostPort(server)
		if err != nil {
			return nil, nil, nil, err
		}
		exempt = append(exempt, hostPort)
	}
	out := outbound.New(outbound.Config{
		AllowPrivate: l.allowPrivate, Exempt: exempt, UserAgent: "railyard/" + versionText(),
	})
	resolver := identity.NewResolver(identity.Config{
		Client: out, PLCURL: l.plcURL, QPS: l.plcQPS, Hosts: atproto.Hosts{AllowPrivate: l.allowPrivate},
	})
	hosts := pds.New(out)
	hosts.RepoTimeout = l.repoTimeout
	return out, resolver, hosts, nil
}
