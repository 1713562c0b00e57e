package sim

import (
	"time"

	"railyard/internal/test/simnet"
)

// eachFault is the table of what is seen of the faults.
func eachFault() map[simnet.FaultName][]each {
	all := map[simnet.FaultName][]each{}
	for _, part := range []map[simnet.FaultName][]each{eachOnStreams(), eachBesides(), eachAnswer(), eachLie(), eachListing(), eachDocument()} {
		for name, rows := range part {
			all[name] = append(all[name], rows...)
		}
	}
	return all
}

// on returns a row for each of some places.
func on(e each, places ...string) (rows []each) {
	for _, at := range places {
		e.at = at
		rows = append(rows, e)
	}
	return rows
}

// both are the two kinds of upstreams, either is one of them, by the seed: they are
// not treated differently.
func both(e each) []each   { return on(e, "relay", "pds1") }
func either(e each) []each { return on(e, anyUpstream) }

// What is sent instead of a true event, or not sent.
func eachOnStreams() map[simnet.FaultName][]each {
	signed := func(reasons string) []each { return either(each{refused: reasons, judged: "refused"}) }
	return map[simnet.FaultName][]each{
		simnet.LostWindow: {
			{at: "relay"}, {at: "pds1"},
			{at: "relay", away: true, again: 1, judged: "desynchronized? waits? buffered?", attempts: "superseded?"},
			{at: "pds1", away: true, again: 1, crawls: true, refused: "sequence-gap", judged: "desynchronized? waits? buffered?", attempts: "superseded?"},
		},
		simnet.SequenceReset: {
			{at: "relay", then: 8, again: 1, crawls: true, refused: "sequence-reset", judged: "desynchronized? waits? buffered?", attempts: "superseded?"},
			{at: "pds1", again: 1, crawls: true, refused: "sequence-future", attempts: "superseded?"},
		},
		simnet.Drop:           either(each{}),
		simnet.Repeat:         either(each{judged: "stale"}),
		simnet.Reorder:        on(each{}, "relay"),
		simnet.WrongSignature: signed("bad-signature"),
		simnet.WrongPrevData:  signed("inversion-failed"),
		simnet.NoPrevData:     either(each{}),
		simnet.LeastNodes:     either(each{}),
		simnet.NoOpPrev:       signed("no-prev"),
		simnet.MissingBlock:   either(each{refused: "inversion-blocked|record-missing|bad-tree?", judged: "refused?"}), // it may be one that the proof spares
		simnet.ForgedBlock:    either(each{refused: "bad-block", judged: "refused", attempts: "superseded?"}),
		simnet.OmittedOp:      signed("inversion-failed|inversion-blocked|no-prev"), // an op may be the only one
		simnet.InventedOp:     signed("ops-mismatch|inversion-blocked|inversion-failed|record-missing|bad-op"),
		simnet.OldRev:         either(each{judged: "stale"}),
		simnet.FutureRev:      either(each{refused: "future-rev", judged: "refused", attempts: "superseded?"}),
		simnet.WrongRepo:      both(each{refused: "commit-mismatch|wrong-host", judged: "refused", attempts: "superseded?"}),
	}
}

// What is sent beside a true event, and what befalls connections.
func eachBesides() map[simnet.FaultName][]each {
	forged := either(each{refused: "bad-signature", judged: "refused"})
	broken := func(reason string) []each {
		return either(each{refused: reason + " frame-skipped", judged: "refused", again: 2, crawls: true})
	}
	return map[simnet.FaultName][]each{
		simnet.ForgedCommit: forged,
		simnet.ForgedBirth:  forged,
		simnet.ForgedSync:   forged,
		simnet.FalseStatus: {
			{at: "relay", judged: "hidden|checked", attempts: "reactivated?"},
			{at: "pds1", judged: "hidden", attempts: "reactivated?"},
		},
		simnet.Impostor:       on(each{refused: "wrong-host", judged: "refused"}, "pds1"),
		simnet.UnknownType:    either(each{refused: "frame-unknown", judged: "refused"}),
		simnet.BadSchema:      either(each{refused: "bad-rev", judged: "refused", attempts: "superseded?"}),
		simnet.MalformedFrame: broken("frame-malformed"),
		simnet.OversizedFrame: broken("frame-too-big"),
		simnet.CutFrame:       either(each{again: 1}),
		simnet.Stall:          either(each{most: 10 * time.Minute}),
		simnet.Silence:        both(each{again: 1, most: 4 * time.Minute}),
		simnet.Stutter:        either(each{refused: "sequence-repeated", judged: "stale"}),
		simnet.TextMessage:    either(each{refused: "frame-not-binary", again: 1}),
		simnet.TooSlow:        either(each{refused: "frame-error", again: 1}),
	}
}

// What befalls whole requests.
func eachAnswer() map[simnet.FaultName][]each {
	const host, directory, listing, firehose = "pds1/getRecord", "plc/did", "relay/listRepos", "relay/subscribeRepos"
	// general is what is seen of two requests that failed and are sent again. The
	// reasons are those at a host, of a document and of a listing.
	general := func(reasons [3]string, attempts string, most time.Duration) []each {
		return []each{
			{at: host, times: 2, refused: reasons[0], attempts: attempts, most: most},
			{at: directory, times: 2, refused: reasons[1], attempts: "identity-failed", most: most},
			{at: listing, times: 2, refused: reasons[2], most: most},
		}
	}
	var none [3]string
	same := func(reason string) [3]string { return [3]string{reason, reason, reason} }
	with := func(rows []each, e each) []each { return append(rows, e) }
	again := each{at: firehose, again: 2}
	return map[simnet.FaultName][]each{
		simnet.HostVanishes: with(general(none, "transient", 90*time.Minute), each{at: firehose, again: 1, most: 20 * time.Minute, judged: "stale? buffered?", attempts: "superseded?"}),
		simnet.LateAnswer: {
			{at: host, times: 2, most: 5 * time.Minute, attempts: "stale? superseded?"},
			{at: directory, times: 2, most: 10 * time.Minute, refused: "answer-too-slow?", attempts: "identity-failed?"},
			{at: listing, most: 2 * time.Minute},
		},
		simnet.Latency: {
			{at: host, times: 2, most: 5 * time.Minute, refused: "answer-too-slow?", attempts: "transient?"},
			{at: directory, times: 2, most: 10 * time.Minute, refused: "answer-too-slow?", attempts: "identity-failed?"},
			{at: listing, refused: "answer-too-slow?", most: 2 * time.Minute}, {at: firehose, again: 1},
		},
		simnet.RateLimited:     with(general(none, "rate-limited", 8*time.Minute), each{at: firehose, again: 2, most: 4 * time.Minute}),
		simnet.BareRateLimit:   with(general(none, "rate-limited", 8*time.Minute), again),
		simnet.ServerError:     with(general(none, "transient", 2*time.Minute), again),
		simnet.UnknownError:    with(general(none, "transient", 2*time.Minute), again),
		simnet.NoAnswer:        with(general(same("answer-too-slow"), "transient", 6*time.Minute), each{at: firehose, again: 2, most: 2 * time.Minute}),
		simnet.HTMLPage:        with(general([3]string{"bad-car", "identity-invalid", "answer-invalid"}, "", 10*time.Minute), again),
		simnet.PrivateRedirect: with(general(none, "transient", 5*time.Minute), again),
		simnet.RedirectLoop:    with(general([3]string{"answer-invalid", "identity-invalid", "answer-invalid"}, "", 10*time.Minute), again),
		simnet.EmptyBody:       with(general([3]string{"bad-car", "identity-invalid", "answer-invalid"}, "", 10*time.Minute), again),
		simnet.Drip:            general(same("answer-too-slow"), "transient", 6*time.Minute),
		simnet.CutBody:         general(none, "transient", 6*time.Minute),
		simnet.HalfBody:        general([3]string{"bad-car", "identity-invalid", "answer-invalid"}, "", 10*time.Minute),
		simnet.WrongLength:     general(none, "transient", 6*time.Minute),
		simnet.EndlessBody:     general([3]string{"answer-too-big", "identity-invalid", "answer-too-big"}, "", 10*time.Minute),
		simnet.FalseFuture:     on(each{refused: "sequence-future", again: 2, crawls: true, attempts: "superseded?"}, firehose, "pds1/subscribeRepos"),
		simnet.FalseGap:        on(each{refused: "sequence-gap", again: 1, crawls: true, attempts: "superseded?"}, firehose, "pds1/subscribeRepos"),
	}
}

// What hosts say wrongly of repos.
func eachLie() map[simnet.FaultName][]each {
	archive := func(reason, attempts string) []each {
		return []each{
			{at: "pds1/getRecord", times: 2, refused: reason},
			{at: "pds1/getRepo", times: 2, refused: reason, attempts: attempts, most: 10 * time.Minute},
		}
	}
	// Whoever describes a repo is believed until the proof, which comes within an hour.
	const proofs = 2 * time.Hour
	described := on(each{times: 100, refused: "answer-invalid", proven: proofs}, "pds1/describeRepo")
	denied := on(each{times: 2, attempts: "not-found", most: 15 * time.Minute}, "pds1/getRecord", "pds1/getRepo", "pds1/describeRepo")
	return map[simnet.FaultName][]each{
		simnet.DeniesRepo: denied,
		simnet.StaleReplica: append(on(each{times: 2, attempts: "stale? superseded?"}, "pds1/getRecord", "pds1/getRepo"),
			each{at: "pds1/describeRepo", times: 2, refused: "answer-invalid?", attempts: "stale? superseded?", proven: proofs}),
		simnet.DescribesLess:  described,
		simnet.DescribesMore:  described,
		simnet.DescribesNone:  described,
		simnet.ShortArchive:   archive("answer-partial|bad-commit?", "invalid?"),
		simnet.CorruptArchive: archive("bad-block", "invalid"),
		simnet.NoArchive:      archive("bad-car", "invalid"),
		simnet.ForeignArchive: archive("answer-wrong-did", "invalid"),
	}
}

// What listings say wrongly.
func eachListing() map[simnet.FaultName][]each {
	return map[simnet.FaultName][]each{
		simnet.ListsLess:         on(each{}, "relay/listRepos", "pds1/listRepos"),
		simnet.ListsUnknown:      on(each{refused: "identity-unresolved", attempts: "identity-failed"}, "relay/listRepos", "pds1/listRepos"),
		simnet.ListsOthers:       on(each{}, "pds1/listRepos"),
		simnet.ListsStatuses:     on(each{}, "relay/listRepos", "pds1/listRepos"),
		simnet.CursorLoop:        on(each{refused: "answer-loop"}, "pds1/listRepos"),
		simnet.EndlessListing:    on(each{times: 1000, refused: "answer-loop"}, "relay/listRepos", "pds1/listRepos"),
		simnet.ListsInvalidHosts: on(each{times: 2, refused: "forbidden-address"}, "relay/listHosts"),
		simnet.EndlessHosts:      on(each{times: 1000, refused: "answer-loop"}, "relay/listHosts"),
	}
}

// What the directory says wrongly.
func eachDocument() map[simnet.FaultName][]each {
	refused := on(each{times: 2, refused: "identity-invalid", attempts: "identity-failed", most: 10 * time.Minute}, "plc/did")
	return map[simnet.FaultName][]each{
		simnet.Unresolvable:    on(each{times: 2, refused: "identity-unresolved", attempts: "identity-failed"}, "plc/did"),
		simnet.StaleDocument:   on(each{refused: "bad-signature?", attempts: "invalid?"}, "plc/did"),
		simnet.NamesOther:      on(each{times: 2, attempts: "not-found|transient", most: 45 * time.Minute}, "plc/did"),
		simnet.NamesPrivate:    on(each{times: 2, attempts: "transient", most: 45 * time.Minute}, "plc/did"),
		simnet.ForeignKey:      on(each{times: 2, refused: "bad-signature", attempts: "invalid"}, "plc/did"),
		simnet.BrokenKey:       refused,
		simnet.WrongID:         refused,
		simnet.NoService:       refused,
		simnet.ExportLags:      on(each{times: 100}, "plc/export"),
		simnet.ExportRepeats:   on(each{times: 100}, "plc/export"),
		simnet.ExportShuffles:  on(each{times: 100}, "plc/export"),
		simnet.ExportNullified: on(each{times: 100}, "plc/export"),
		simnet.ExportRenumbers: on(each{times: 3}, "plc/export"),
		simnet.ExportByTime:    on(each{times: 6}, "plc/export"),
	}
}
