package simnet

import (
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// nsids are the collections that lives are made of, chosen for what a careless
// index mixes up: names that begin with another name, at the end of a segment
// and inside one, that differ in case only, or that sort on either side of a
// slash.
func nsids() []string {
	return []string{
		"app.bsky.actor.profile",
		"app.bsky.feed.like",
		"app.bsky.feed.post",
		"app.bsky.feed.postgate",
		"app.bsky.feed.repost",
		"app.bsky.graph.block",
		"app.bsky.graph.follow",
		"app.bsky.graph.list",
		"app.bsky.graph.listitem",
		"chat.bsky.actor.declaration",
		"sh.tangled.repo",
		"sh.tangled.repo.issue",
		"sh.tangled.repo.issue.comment",
		"sh.tangled.repo.pull",
		"sh.tangled.repository",
		"net.rails.yard",
		"net.rails.yard.track",
		"net.rails.yard.track.switch",
		"net.rails.yard-one.track",
		"net.rails.yard0",
		"net.rails.yards",
		"net.rails.yardTrack",
		"net.rails.yardtrack",
		"net.rails.Yard",
		"net.rails.yARD",
		"net.Rails.yard",
		"net.rails-2.yard",
		"net.rails2.yard",
		"net.ra1ls.yard",
		"a.b.c",
		"a.b.cc",
		"a-b.c.d",
		"zz.top.z",
		"xn--bcher-kva.example.book",
		"net.rails." + strings.Repeat("long.", 30) + "line",
		"net.rails." + strings.Repeat("w", 63),
	}
}

// relatives returns the names that begin with a name, that it begins with, or that
// differ from it in case only.
func relatives(name string) []string {
	var found []string
	for _, other := range nsids() {
		if other != name && (strings.HasPrefix(other, name) || strings.HasPrefix(name, other) || strings.EqualFold(other, name)) {
			found = append(found, other)
		}
	}
	return found
}

// newRkey draws a record key: mostly TIDs, now and then what else the grammar
// allows. number makes it unique.
func (n *Network) newRkey(number int64) string {
	text := strconv.FormatInt(number, 10)
	switch n.life.IntN(20) {
	case 0:
		return "self"
	case 1:
		return "-" + text
	case 2:
		return "~" + text + "_:."
	case 3:
		return "Word." + text
	case 4:
		return text
	case 5:
		if n.life.IntN(20) == 0 {
			return text + strings.Repeat("x", 512-len(text))
		}
	}
	return syntax.NewTIDFromInteger(uint64(n.clock.UnixMicro())<<10 | uint64(number)&1023).String()
}
