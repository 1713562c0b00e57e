package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"railyard/internal/atproto"
	"railyard/internal/outbound"
	"railyard/internal/pds"
	"railyard/internal/store"
)

// kind asks an upstream what it is, and a PDS for its public name.
func (s *Service) kind(ctx context.Context, base string) (store.Kind, string, error) {
	k, did, err := s.pds.UpstreamKind(ctx, base)
	if err != nil || k != pds.PDS {
		return store.Kind(k), "", err
	}
	name, err := publicName(base, did)
	if err != nil {
		s.log.Warn("what the server calls itself is not believed", "upstream", base, "says", atproto.Clip(did), "err", err)
	}
	return store.KindPDS, name, nil
}

// publicName returns the host that documents call a PDS at a base URL which says that it
// is did, empty for that of the URL.
//
// The word of a server is taken where the operator has it in reach by a name that no
// document can have: an address or a name of their own network. A server on the internet
// could claim to be any other one and hide its accounts, since an #account has no
// signature: there the operator has to say so.
func publicName(base, did string) (string, error) {
	own, err := OperatorHost(base)
	if err != nil {
		return "", err
	}
	claim, ok := strings.CutPrefix(did, "did:web:")
	if !ok {
		return "", nil // it says nothing of its host
	}
	claim, err = url.PathUnescape(claim) // its port is behind a %3A (did:web)
	if err != nil {
		return "", err
	}
	name, err := atproto.Hosts{AllowPrivate: true}.Name(claim)
	if err != nil {
		return "", err
	}
	host, port := split(own)
	called, itsPort := split(name)
	switch {
	case name == own, called == host && itsPort == "":
		return "", nil
	case onTheInternet(host):
		return "", fmt.Errorf("events of accounts that name %s are refused from this upstream; if it is that server, follow it as %s#%s", name, base, name)
	case itsPort == "" && port != "" && !onTheInternet(called): // servers for development leave it out
		return name + ":" + port, nil
	}
	return name, nil
}

// split splits a canonical host.
func split(host string) (name, port string) {
	u := url.URL{Host: host}
	return u.Hostname(), u.Port()
}

// onTheInternet reports whether a name or an address can be a stranger's.
func onTheInternet(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return outbound.Public(addr)
	}
	_, err := atproto.Hosts{}.Name(host)
	return err == nil
}
