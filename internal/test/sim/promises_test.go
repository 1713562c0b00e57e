package sim

// promise is what holds when the process dies at a step.
type promise struct {
	step string
	// lost is about a death before the step is in the file, kept about one right after
	// it, when nobody has been told. Both say what the file has and what a start makes
	// of it.
	lost, kept string
	story      *story
	// moves are queries, with semicolons between them, whose answers the step changes
	// together; with first, the first pass of it in the story does, and others may have
	// nothing to do.
	moves string
	first bool
}

const (
	queued     = "SELECT count(*) FROM resync_queue"
	leased     = "SELECT count(lease) FROM resync_queue"
	refusals   = "SELECT sum(count) FROM refusal"
	parkedRows = "SELECT sum(parked) FROM resync_queue"
)

// promises is the list of every point where the process can die, in the order of
// docs/crashes.md.
var promises = []promise{
	// The start.
	{step: "make the schema", story: firstStart, moves: "SELECT count(*) FROM sqlite_master",
		lost: "The file is empty. The next start makes the schema.",
		kept: "The schema is there, and the index id for good."},
	{step: "leap", story: firstStart, moves: "SELECT next_seq FROM meta",
		lost: "The birth counter is where it was. The next start raises it.",
		kept: "The counter is raised, and on the disk. The next start raises it once more, so some numbers are never used."},
	{step: "release leases", story: leasesLeft, moves: leased, first: true,
		lost: "Rows are leased by a process that is dead. The next start releases them.",
		kept: "Up to 500 rows are due again, with their documents to be looked up. The next start releases the rest."},
	{step: "add upstream", story: firstStart, moves: "SELECT count(*) FROM upstream", first: true,
		lost: "The file does not know the upstream. The next start adds it.",
		kept: "The upstream has a row without a position. The next start connects live."},
	// The firehose.
	{step: "listHosts", story: firstStart,
		lost: "Nobody knows what the upstream is. It is asked at the next connection.",
		kept: "As before: the answer was not stored."},
	{step: "connected", story: firstStart, moves: "SELECT kind FROM upstream; SELECT again FROM crawl", first: true,
		lost: "No crawl of the upstream is wanted yet. A start without a position wants one at its connection.",
		kept: "What the upstream is and the request for a crawl are in the file. The next start begins it."},
	{step: stepFrame, story: onlyCommits,
		lost: "The frame is in nobody's hands. The cursor is before it, and the upstream sends it again.",
		kept: "It is proven, waits in an open batch and is lost with it. The upstream sends it again."},
	{step: "refuse a frame", story: atWork, moves: refusals,
		lost: "The refusal is not counted. The frame is refused again at the next connection.",
		kept: "The refusal is counted, and once more if the frame comes again."},
	{step: "judge a batch", story: onlyCommits, moves: "SELECT cursor FROM upstream; SELECT max(rev) FROM repo_head",
		lost: "Rows, heads, queue and cursor are those of before the batch. The upstream sends it again.",
		kept: "Rows, heads, queue and cursor are those of after the batch. None of it comes again."},
	// Repos.
	{step: "lease resyncs", story: firstStart, moves: leased, first: true,
		lost: "Nobody works on the rows, and nobody was asked. They are leased after the next start.",
		kept: "The rows are leased, and nobody was asked. The next start releases them."},
	{step: stepDocument, story: firstStart,
		lost: "The row is leased. The next start releases it, and the document is asked for again.",
		kept: "As before: the document was not stored."},
	{step: stepKeys, story: movedAway,
		lost: "The row is leased. The next start releases it, and the fetch begins anew.",
		kept: "As before: earlier keys are not stored."},
	{step: "getRepoStatus", story: atWork,
		lost: "The account is hidden or shown as the last word had it. The question stays in the queue and is put again.",
		kept: "As before: the answer was not stored."},
	{step: "getRecord", story: firstStart,
		lost: "The row is leased, and commits that came since are buffered. The next start drops both, and the fetch begins anew.",
		kept: "As before: what was fetched is lost."},
	{step: "describeRepo", story: firstStart,
		lost: "The row is leased, and commits that came since are buffered. The next start drops both, and the fetch begins anew.",
		kept: "As before: what was fetched is lost."},
	{step: "getRepo", story: atWork,
		lost: "The row is leased, and commits that came since are buffered. The next start drops both, and the fetch begins anew.",
		kept: "As before: what was fetched is lost."},
	{step: "finish resyncs", story: firstStart, moves: leased + "; SELECT group_concat(state || coalesce(proof, '')) || (SELECT count(*) FROM identity) FROM repo", first: true,
		lost: "The repos are still being fetched, their rows leased. The next start releases them, and they are fetched again.",
		kept: "Sets, heads, buffered commits and queue rows of the group are all as the attempts found them."},
	{step: "refresh identities", story: longAgo, moves: queued, first: true,
		lost: "Old documents are not queued. The next start finds them again.",
		kept: "Old documents are queued; their repos stay in service."},
	// Listings.
	{step: "clamp crawls", story: firstStart,
		lost: "Crawls that a wrong clock has put off stay so until the next start.",
		kept: "They are due within the longest time that a crawl is put off for."},
	{step: "begin a crawl", story: firstStart, moves: "SELECT started_at FROM crawl", first: true,
		lost: "The crawl is due. The next start begins it, or goes on with it.",
		kept: "The crawl stands at its first page or its cursor, and begins there."},
	{step: "listRepos", story: firstStart,
		lost: "The crawl stands at this page, which is asked for again.",
		kept: "As before: the page was not stored."},
	{step: "a page of a crawl", story: firstStart, moves: "SELECT count(*) FROM repo; SELECT count(*) FROM resync_queue; SELECT coalesce(cursor, finished_at) FROM crawl", first: true,
		lost: "None of the page's repos is there, and the cursor is before it. It is asked for again.",
		kept: "The page's repos are queued and the cursor is behind it. The crawl goes on there, but no longer knows all that it has seen: " +
			"repos that are not listed any more are asked about by the next one."},
	{step: "a failed page of a crawl", story: crawling, moves: refusals,
		lost: "The refusal is not counted. The crawl stands at the page, or at a cursor that the server refuses again, and is due.",
		kept: "The refusal is counted, and the crawl stands where it goes on, at its time."},
	{step: "ask about unlisted repos", story: crawling, moves: queued, first: true,
		lost: "The crawl has ended and nobody is asked about up to 500 repos that it left out. The next crawl leaves them out, too, and asks.",
		kept: "They are queued. Those behind them are asked about by the next crawl."},
	// The deep crawl.
	{step: "a page of hosts", story: deeply, moves: "SELECT count(*) FROM host WHERE listed_status IS NOT NULL", first: true,
		lost: "The page's hosts are not there. The relay is asked from the beginning after the next start.",
		kept: "The page's hosts are crawled. The relay is asked from the beginning after the next start."},
	{step: "refuse an answer", story: deeply, moves: refusals,
		lost: "The refusal is not counted. The relay is asked again after the next start.",
		kept: "The refusal is counted. The relay is asked again after the next start."},
	{step: "pace a host", story: deeply, moves: "SELECT sum(next_at) FROM host_queue", first: true,
		lost: "The host was not asked. The next start asks it as soon as its pace allows.",
		kept: "A request is charged to the host that was not sent. It is asked a moment later."},
	{step: "put a crawl off", story: deeply, moves: "SELECT sum(due_at) FROM crawl",
		lost: "The crawl is due at the page that has more candidates than the host may have. It is asked for again.",
		kept: "The crawl goes on at its cursor at its time."},
	{step: "a host asks to be crawled", story: deeply, moves: "SELECT count(*) FROM host",
		lost: "The host's request is lost; it had no answer, and asks again.",
		kept: "The host is crawled, though it had no answer."},
	// The log of the directory.
	{step: "begin the PLC log", story: fromTheLog, moves: "SELECT count(*) FROM plc_log", first: true,
		lost: "The file knows of no log, or of the one that the server had before. The next start begins it, or finds out again that there is another one.",
		kept: "The log is at its beginning, and backfill from now on waits for it."},
	{step: "park backfill", story: fromTheLog, moves: parkedRows, first: true,
		lost: "Backfill of before is not parked and may be looked up one by one. The next start parks it.",
		kept: "A piece of the backfill of before waits for the log. The next start goes over all of it again."},
	{step: stepLogPage, story: fromTheLog,
		lost: "The position is before the page, which is asked for again.",
		kept: "As before: the page was not applied."},
	{step: "read the PLC log", story: fromTheLog, moves: "SELECT seen FROM plc_log; SELECT count(*) FROM identity", first: true,
		lost: "Identities and position are those of before up to 200 operations. The page is asked for again.",
		kept: "Identities and position are those of after them. What the page has beyond them is asked for again."},
	{step: "malformed lines of the PLC log", story: fromTheLog, moves: refusals,
		lost: "The refusals are not counted, as the page is behind the position.",
		kept: "The refusals are counted."},
	{step: "park no more", story: fromTheLog,
		lost: "Backfill is parked as before. The log is read on from the position, and its end found again.",
		kept: "As before: the file says nothing of it."},
	{step: "release backfill", story: fromTheLog, moves: parkedRows, first: true,
		lost: "Backfill is parked. The next start finds the end of the log again.",
		kept: "A piece of it is due, with the identities of the log. The rest follows when the end of the log is found again."},
	{step: "finish a log", story: fromTheLog, moves: "SELECT done FROM plc_log",
		lost: "All backfill is due, and the log counts as unread. The next start parks what is left of it, until it finds the end again.",
		kept: "The log counts as read. Later starts follow it from the position."},
	{step: "check for a log", story: logGivenUp,
		lost: "Nothing changes in it.",
		kept: "Nothing changes in it."},
	// The upkeep.
	{step: "checkpoint", story: onlyCommits,
		lost: "All is in the write-ahead log.",
		kept: "All is in the file, as far as no reader was in the way, and in the log."},
	{step: "truncate", story: largeLog,
		lost: "All is in the write-ahead log, which stays large until the next start.",
		kept: "All is in the file, and the log is empty."},
	{step: "prune", story: longAgo, moves: "SELECT count(*) FROM membership_change", first: true,
		lost: "Changes older than a week are still in the feed, and so are collections that no row names, and what hosts could not do a month ago, until the next start.",
		kept: "Up to 5,000 of the first and of the second are gone, and what hosts could not do is tried again."},
}
