package simnet

// expected says of each fault what a good follower of the network does. It stands
// apart from the table, which is about the network alone.
func expected() map[FaultName]string {
	const (
		unproven = "The event is dropped and counted: nothing in it is proven. Half a minute later the host is asked for its head; the repo stays in service."
		signed   = "The event is refused and counted. Its signature is good, so the repo has changed: it is taken out of service and fetched."
		unsigned = "The event is dropped and counted, and the DID document is looked up again, at most once a minute for a repo. The repo stays in service."
		broken   = "The connection is opened again at the cursor; at the third time the message is stepped over and the listing is crawled. For an hour others are stepped over at once."
		later    = "The request is sent again after a growing pause, and a host that goes on failing is left alone for a while. Nothing else changes."
		// otherwise is for answers without a meaning.
		otherwise = "The host is asked by its other methods, and what it says there counts. An account that it refuses by all of them while it serves others it has not, if that is so again ten minutes later. Else the request is sent again after a growing pause; a host that serves nobody is left alone for a while."
		invalid   = "The answer is not believed and counted. Another endpoint is asked, or the same one after a growing pause."
		document  = "The document is refused and counted, and asked for again after a growing pause. What is known of the account stays."
		page      = "The answer is refused and counted, and the request is sent again after a growing pause."
	)
	return map[FaultName]string{
		LostWindow:    "Who is connected loses nothing. Who returns goes on with the oldest event that there is, and the listing is crawled, at once where the loss is announced or large, else by the daily crawl.",
		SequenceReset: "The reset is counted, the new numbers are taken, and the listing is crawled.",
		Drop:          "Nobody can know. The next commit of the account does not follow, and the repo is fetched; or the daily crawl finds a newer rev.",
		Repeat:        "The second one is known by its rev and changes nothing.",
		Reorder:       "Nothing: the order between accounts means nothing.",

		WrongSignature: unsigned,
		WrongPrevData:  signed,
		NoPrevData:     "It is applied: undoing its ops leads to the tree that we hold.",
		LeastNodes:     "It is applied: the ops are undone in the order that needs no other node.",
		NoOpPrev:       signed,
		MissingBlock:   signed,
		ForgedBlock:    unproven,
		OmittedOp:      signed,
		InventedOp:     signed,
		OldRev:         "It counts as a repetition and changes nothing. The next commit or the daily crawl shows that one was lost.",
		FutureRev:      unproven,
		WrongRepo:      "The event is dropped and counted, and half a minute later the host of the named account is asked for its head. For neither account anything else changes.",

		ForgedCommit:   unsigned,
		ForgedBirth:    unsigned,
		ForgedSync:     unsigned,
		FalseStatus:    "From a relay it hides the account and its host is asked at once, which shows it again; a word about the relay itself (throttled, desynchronized) only leads to the question. The word of the host itself is believed until its next commit or listing speaks against it.",
		Impostor:       "The event is dropped and counted, because the DID document names another host, and the document is looked up again.",
		UnknownType:    "The message is counted and skipped.",
		BadSchema:      "The message is counted and dropped, and half a minute later the host is asked for the head of the account that it names.",
		MalformedFrame: broken,
		OversizedFrame: broken,

		CutFrame:    "The connection is opened again at the cursor.",
		Stall:       "Nothing: the connection lives. The events come when it goes on.",
		Silence:     "After 75 seconds without a sign of life the connection is opened again at the cursor.",
		Stutter:     "The second one is counted and known by its rev.",
		TextMessage: "The message is counted and the connection is opened again at the cursor.",
		TooSlow:     "The error is counted and the connection is opened again at the cursor.",

		HostVanishes:    later + " Its firehose is opened again as soon as it is back.",
		LateAnswer:      "It counts as of when it comes. A fetch during which events came is led on to them by the commits that waited, or done again.",
		Latency:         "It is waited for: 30 seconds, of the directory less. Later it is too late, which is counted, and the request is sent again after a pause.",
		RateLimited:     "The host is left alone for as long as it asks, at most an hour, and is never asked for something heavier instead.",
		BareRateLimit:   "The host is left alone for half a minute, longer each time, and is never asked for something heavier instead.",
		ServerError:     later,
		UnknownError:    otherwise,
		NoAnswer:        "The request is ended at its timeout and counted. " + later,
		HTMLPage:        invalid,
		PrivateRedirect: "The redirect is refused and counted (with --allow-private-hosts it is followed to nowhere), and the request is sent again after a growing pause.",
		RedirectLoop:    "After three redirects the answer is refused and counted, and the request is sent again after a growing pause.",
		EmptyBody:       invalid,
		Drip:            "The request is ended when it drips below the least rate, or at its timeout, and counted. " + later,
		CutBody:         later,
		HalfBody:        invalid,
		WrongLength:     later,
		EndlessBody:     "Reading ends at the cap of the answer, which is refused and counted. " + invalid,

		FalseFuture: "It is counted, the next connection begins live, and the listing is crawled.",
		FalseGap:    "It is counted and the listing is crawled.",

		DeniesRepo:     "The host is asked again after half a minute and after ten minutes, and the rows stay until then. Said again after that time it is believed, the rows are hidden, and the host is asked more and more rarely.",
		StaleReplica:   "An answer older than a commit that was seen is not taken and asked for again; of a repo of which nothing was seen it is taken, until a commit or the daily crawl shows a newer rev.",
		DescribesLess:  "Where the signed tree contradicts the list at once, that is counted and the repo itself is asked for. Else it is taken as described, and its proof in the background shows the rest. The host's list is not believed for a month.",
		DescribesMore:  "Where the signed tree contradicts the list at once, that is counted and the repo itself is asked for. Else it is taken as described, and its proof in the background takes the invented ones away. The host's list is not believed for a month.",
		DescribesNone:  "An empty list is counted and the repo itself is asked for.",
		ShortArchive:   invalid,
		CorruptArchive: invalid,
		NoArchive:      invalid,
		ForeignArchive: invalid,

		ListsLess:         "A repo in service that a whole crawl leaves out is asked for at its host, and stays if that has it. One that is new is found by its next event or the next daily crawl.",
		ListsUnknown:      "They become candidates that nobody sees. The directory does not know them, and after two look-ups they are forgotten.",
		ListsOthers:       "They are counted as foreign and change nothing: the documents name another host. An old document is looked up again.",
		ListsStatuses:     "The host of each is asked, and its answer is taken.",
		CursorLoop:        "The crawl ends and is counted. What it found stays.",
		EndlessListing:    "After 100 empty pages the crawl ends and is counted. What it found stays.",
		ListsInvalidHosts: "Names that are no public hosts are refused and counted; hosts that do not answer are asked more and more rarely.",
		EndlessHosts:      "An empty page ends the crawl and is counted. What it found stays.",

		Unresolvable:  "The directory is asked again after ten minutes. A DID that it had before and denies twice is tombstoned: its account is hidden as deleted, until the directory has it again.",
		StaleDocument: "It is taken. After an #identity it is looked up twice, a failing signature or host leads to another look-up, and each is looked up again after a week.",
		NamesOther:    "The host that is named is asked, and says that it has no such repo, or does not answer: the document is looked up again. Commits through another host are refused meanwhile.",
		NamesPrivate:  "No request goes there, which is counted (with --allow-private-hosts it fails), and the document is looked up again.",
		ForeignKey:    "What does not verify under the key is refused and counted, and the document is looked up again, at once the first time.",
		BrokenKey:     document,
		WrongID:       document,
		NoService:     document,

		ExportLags:      "The page has nothing of what was read before. The log is asked again later and later, what is late is applied late, and documents that are needed sooner are looked up.",
		ExportRepeats:   "What was read before is passed over.",
		ExportNullified: "Of a DID the last operation of a page counts, and the documents of those that were nullified are looked up.",
		ExportRenumbers: "The page has nothing of what was read before. If that lasts for half an hour, the log is read from its beginning; documents are looked up meanwhile.",
		ExportByTime:    "The page has nothing of what was read before. If that lasts for half an hour, the log is read from its beginning, by time; documents are looked up meanwhile.",
		ExportShuffles:  "Of one DID the newest operation counts, wherever it stands. What is read too late is asked about.",
	}
}
