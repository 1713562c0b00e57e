-- railyard's one file: which repos have records in which collections.
--
-- Look at it with sqlite3 (3.40 or newer; never run ANALYZE on it):
--   SELECT did FROM repos_by_collection WHERE nsid = 'app.bsky.feed.post' LIMIT 10;
-- The views near the end are for people; the tables are narrow for the disk. SELECT * FROM violation lists what
-- should not be.
-- Comments stand inside the parentheses because SQLite keeps them there.
-- Columns that end in _at or _until are unix microseconds. Revs are TIDs as
-- integers, CIDs the 32 bytes of their SHA-256.

CREATE TABLE meta (
  -- One row: what this file is.
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  index_id   TEXT    NOT NULL, -- names this index in every cursor; a copy that diverges needs a new one
  next_seq   INTEGER NOT NULL, -- the next birth number; raised at every start to 32 times the unix milliseconds, or by 2^20,
                               -- because a power cut or a restore may have taken back numbers that a client holds
  changes_after INTEGER NOT NULL DEFAULT 0, -- the changes up to this number were deleted from membership_change
  created_at INTEGER NOT NULL,
  created_by TEXT    NOT NULL, -- the version that made the file
  opened_by  TEXT    NOT NULL  -- the version that wrote to it last
) STRICT;

-- Repos.

CREATE TABLE repo_state (
  -- What repo.state means.
  id      INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL,
  meaning TEXT    NOT NULL
) STRICT;
INSERT INTO repo_state (id, name, meaning) VALUES
  (0, 'candidate', 'heard of, never proven'),
  (1, 'desynchronized', 'the rows may be wrong; it waits in resync_queue'),
  (2, 'resyncing', 'a worker fetches it; its commits go to resync_buffer'),
  (3, 'synchronized', 'commits that follow its head are applied'),
  (4, 'not_found', 'its host says twice that it has no such repo');

CREATE TABLE proof (
  -- What repo.proof means: how the set of collections was established.
  id      INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL,
  meaning TEXT    NOT NULL
) STRICT;
INSERT INTO proof (id, name, meaning) VALUES
  (1, 'tree', 'the whole signed tree was walked'),
  (2, 'probe', 'signed absence and presence proofs'),
  (3, 'old-key', 'signed by an earlier key of the DID'),
  (4, 'claim', 'the host''s word: describeRepo');

CREATE TABLE status_source (
  -- What repo.status_from means: who said that an account is not active.
  id      INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL,
  meaning TEXT    NOT NULL
) STRICT;
INSERT INTO status_source (id, name, meaning) VALUES
  (1, 'host', 'its PDS'),
  (2, 'relay', 'a relay, and its PDS has not said so yet; a relay may take it back'),
  (3, 'directory', 'the PLC directory or the host of a did:web: it has no document any more');

CREATE TABLE repo (
  -- One row for each DID ever seen.
  id        INTEGER PRIMARY KEY,
  did       TEXT    NOT NULL UNIQUE,
  state     INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 4), -- repo_state.id
  active    INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
            -- the account's hosting status as its PDS has it; inactive accounts are not listed
  status    TEXT,    -- the word that explains: takendown, suspended, deactivated, deleted, ...; NULL = none
  status_from INTEGER, -- status_source.id: whose word it is that it is not active; NULL = it is
  status_at INTEGER, -- since when it has been that word of theirs
  seq       INTEGER NOT NULL DEFAULT 0 CHECK (seq >= 0),
            -- the birth number of the repo's own listing; 0 = not visible.
            -- Visible means: active = 1 and proof known
  proof     INTEGER CHECK (proof BETWEEN 1 AND 4),
            -- proof.id; NULL = its set was never established, or the proof is void: the account came back, or the
            -- host has the repo no more
  proven_at INTEGER, -- when that was; stays when the proof is void
  seen_rev  INTEGER, -- highest rev of a commit with a valid signature that could not be applied: an older
                     -- answer of the host is stale
  error     TEXT,    -- the last failure of a resync, NULL after a success
  error_at  INTEGER,
  found_host_id  INTEGER, -- the host whose listing alone has this DID, which is a candidate of it, or minus the
                     -- upstream whose events alone have; NULL once its document was seen, or it was found otherwise
  harmless_rev INTEGER -- a listed rev that the PDS itself does not have: listings that repeat it are no reason to ask
) STRICT;
CREATE INDEX repo_found_host ON repo (found_host_id) WHERE found_host_id IS NOT NULL;

CREATE TABLE repo_head (
  -- One row for each repo whose signed head is known. Updated by every commit.
  repo_id INTEGER PRIMARY KEY,
  rev     INTEGER NOT NULL,                          -- rev of the last applied commit
  data    BLOB    NOT NULL CHECK (length(data) = 32), -- root of its tree
  cid     BLOB    NOT NULL CHECK (length(cid) = 32)   -- the commit itself
) STRICT;

-- Identities and hosts.

CREATE TABLE identity (
  -- One row for each DID whose document was resolved.
  repo_id     INTEGER PRIMARY KEY,
  signing_key BLOB    NOT NULL, -- multicodec prefix (e701 K-256, 8024 P-256) and the compressed point
  host_id     INTEGER NOT NULL, -- the PDS that the document names
  fetched_at  INTEGER NOT NULL,
  stale       INTEGER NOT NULL DEFAULT 0 CHECK (stale IN (0, 1)), -- 1 = something may have changed: look it up again
  status_asked_at  INTEGER,          -- when the PDS was last asked for the account's status because events disagreed
  earlier_rev INTEGER           -- what was seen of the repo up to this rev, and nothing beyond, may be signed by an
                                -- earlier key of the DID: the key has changed since, or the head is of an account
                                -- that moved and has not written yet. NULL = nothing was
) STRICT;
CREATE INDEX identity_by_host ON identity (host_id);

CREATE TABLE host (
  -- One row for each PDS that a DID document has named, a relay has listed, or that has asked to be crawled.
  id             INTEGER PRIMARY KEY,
  hostname       TEXT    NOT NULL UNIQUE, -- lower case, without scheme; a port only in development
  insecure       INTEGER NOT NULL DEFAULT 0 CHECK (insecure IN (0, 1)), -- 1 = http (development)
  status         TEXT,                    -- what we think of it: NULL = fine, offline
  error          TEXT,                    -- its last failure that was counted
  error_at       INTEGER,
  absent_proofs  INTEGER,                 -- 1 = getRecord proves absence, 0 = refuses absent keys; NULL = not tried
  describe_trust INTEGER,                 -- 0 = its describeRepo was caught with a wrong list; NULL = not caught
  unable_at      INTEGER,                 -- when one of the two last became 0; a month later both are NULL again
  listed_status  TEXT,                    -- what a relay's listHosts says of it: active, idle, offline, throttled, banned
  accounts       INTEGER NOT NULL DEFAULT 0 -- how many identities name it; triggers keep it
) STRICT;
CREATE INDEX host_unable ON host (unable_at) WHERE unable_at IS NOT NULL;

-- Collections and memberships.

CREATE TABLE collection (
  -- One row for each NSID that has a member, or had one within the last week: names can be invented at will. Row 0,
  -- without a name, stands for the listing of all repos: its members are the listed ones.
  id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused
  nsid    TEXT    NOT NULL UNIQUE,
  members INTEGER NOT NULL DEFAULT 0, -- visible members
  digest  INTEGER NOT NULL DEFAULT 0, -- of the set of their DIDs: the sum of XXH64(did) >> 2 over them, modulo 2^62
  changed_seq INTEGER NOT NULL DEFAULT 0, -- the number of the last change: no row of membership_change that names
                                      -- it has a higher one
  first_seen_at INTEGER NOT NULL -- when this row was made
) STRICT;
INSERT INTO collection (id, nsid, first_seen_at) VALUES (0, '', 0);
CREATE INDEX collection_idle ON collection (changed_seq) WHERE members = 0;
CREATE INDEX collection_by_members ON collection (members DESC, nsid) WHERE members > 0 AND id > 0;

CREATE TABLE collection_hour (
  -- One row for each collection and hour in which it won or lost visible members. What it had at the end of an hour is
  -- what it has, less what came since, plus what went.
  collection_id INTEGER NOT NULL,
  hour          INTEGER NOT NULL, -- unix hours
  births        INTEGER NOT NULL, -- members that became visible
  deaths        INTEGER NOT NULL, -- members that became invisible
  PRIMARY KEY (collection_id, hour)
) STRICT, WITHOUT ROWID;

CREATE TABLE membership_source (
  -- What membership.source means: what brought the row.
  id   INTEGER PRIMARY KEY,
  name TEXT    NOT NULL
) STRICT;
INSERT INTO membership_source (id, name) VALUES (1, 'commit'), (2, 'resync'), (3, 'import'); -- import: reserved

CREATE TABLE membership (
  -- One row for each repo and collection in which its tree has a key.
  repo_id       INTEGER NOT NULL,
  collection_id INTEGER NOT NULL,
  seq           INTEGER NOT NULL CHECK (seq <> 0),
                -- birth number, unique over the index, given in the transaction that makes the row visible;
                -- pages are ordered by it and cursors carry it. Negative = not visible
  source        INTEGER NOT NULL, -- membership_source.id
  PRIMARY KEY (repo_id, collection_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_by_collection ON membership (collection_id); -- for people: pages come from listing_block

CREATE TABLE listing_block (
  -- The visible rows of a collection once more, in the order of seq and packed, a few hundred to a block: what pages
  -- are read from. Collection 0 has the listed repos (repo.seq). Changed in the transaction of the rows.
  collection_id INTEGER NOT NULL,
  first_seq     INTEGER NOT NULL, -- of the entry with which the block was begun, which may have gone since; the entries
                                  -- of the block before have lower numbers
  entries       BLOB    NOT NULL CHECK (length(entries) > 0),
                -- seq, repo id and DID of each; package listing has the form. Up to 4,000 bytes, so that a row fits
                -- into a page of the file
  UNIQUE (collection_id, first_seq)
) STRICT;

CREATE TABLE seq_clock (
  -- The birth number reached when a minute began: shows when a row was born.
  seq    INTEGER PRIMARY KEY,
  minute INTEGER NOT NULL -- unix minutes
) STRICT;

CREATE TABLE seq_leap (
  -- The numbers that a start left out. A cursor within them is of changes that a power cut or a restore took back. Rows
  -- behind which no change is kept are deleted.
  first_seq INTEGER PRIMARY KEY, -- the next number as the start found it
  last_seq  INTEGER NOT NULL     -- the one before the first of that run: the one that a client may have from it
) STRICT;

CREATE TABLE change_cause (
  -- What membership_change.cause means.
  id      INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL,
  visible INTEGER NOT NULL -- what a row becomes by it
) STRICT;
INSERT INTO change_cause (id, name, visible) VALUES
  (1, 'birth', 1),
  (2, 'death', 0),
  (3, 'account inactive', 0),
  (4, 'account active again or repo found again', 1),
  (5, 'repo new', 1),
  (6, 'repo not found', 0);

CREATE TABLE membership_change (
  -- The change feed: whatever became visible or invisible. Who applies it in its order to an older state has the newer
  -- one. Old rows are deleted after a week.
  seq           INTEGER PRIMARY KEY, -- its cursor: a number of the same row as birth numbers, and that of the birth if
                -- it is one
  changed_at    INTEGER NOT NULL,
  repo_id       INTEGER NOT NULL,
  collection_id INTEGER NOT NULL,
                -- 0 = the whole repo with all that it has: to be read from membership when the change is looked at,
                -- since what has changed in between has rows of its own further on
  visible       INTEGER NOT NULL CHECK (visible IN (0, 1)), -- what it became
  cause         INTEGER NOT NULL  -- change_cause.id
) STRICT;

-- Upstreams and the PLC directory's log.

CREATE TABLE upstream (
  -- One row for each firehose ever followed.
  id                INTEGER PRIMARY KEY,
  url               TEXT    NOT NULL UNIQUE,
  kind              TEXT    CHECK (kind IN ('relay', 'pds')), -- found at connect; NULL = never connected
  name              TEXT,    -- of a PDS: what DID documents call it (host.hostname); NULL = nothing but the host of url
  cursor            INTEGER, -- everything up to this sequence number is in this file; NULL = start live
  last_event_at     INTEGER, -- when the event of the cursor was applied
  lag               INTEGER  -- how old the newest event was when it was applied, by its own time; microseconds
) STRICT;

CREATE TABLE crawl (
  -- One row for each server whose listRepos is crawled: an upstream, or a host (--crawl deep).
  kind        TEXT    NOT NULL CHECK (kind IN ('upstream', 'host')),
  server_id   INTEGER NOT NULL, -- upstream.id or host.id
  due_at      INTEGER,          -- when the crawl begins or goes on; 0 = at once, NULL = not until somebody asks for it
  again       INTEGER NOT NULL DEFAULT 0 CHECK (again IN (0, 1)),
              -- 1 = asked for (first connect, lost events, requestCrawl) and none has begun since. Times do not
              -- tell: clocks are set
  cursor      TEXT,             -- of the next page; NULL = the first one
  started_at  INTEGER,          -- when the crawl under way began; NULL = none is
  finished_at INTEGER,          -- when the last one ended
  failures    INTEGER NOT NULL DEFAULT 0, -- attempts in a row that failed
  PRIMARY KEY (kind, server_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX crawl_due ON crawl (kind, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE plc_log (
  -- At most one row: how far the log of the PLC directory was read (--plc-export).
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  url   TEXT    NOT NULL, -- of the server
  form  TEXT    CHECK (form IN ('seq', 'time')),
        -- how it pages its log: by sequence numbers of its own, or by the times of operations (unix
        -- microseconds); NULL = nothing was read yet
  after INTEGER NOT NULL, -- operations up to this number or time are in this file; 0 = none
  seen  TEXT    NOT NULL, -- JSON object: later ones that are in this file too, by CID, and their number or time.
        -- A server that knows none of them any more has another log, which is read from its beginning
  done  INTEGER NOT NULL CHECK (done IN (0, 1))
        -- 1 = its end was reached once. Until then backfill of a did:plc whose document was never looked
        -- at is parked (resync_queue.parked); what its identity says meanwhile is stale
) STRICT;

-- The queue.

CREATE TABLE resync_priority (
  -- The priorities of the queue, the most urgent first. A query that joins it seeks each of them in an index.
  id   INTEGER PRIMARY KEY,
  name TEXT    NOT NULL
) STRICT;
INSERT INTO resync_priority (id, name) VALUES
  (1, 'live'), (2, 'check'), (3, 'first-sight'), (4, 'backfill'), (5, 'retry'), (6, 'background');

CREATE TABLE resync_reason (
  -- What resync_queue.reason means, and the priority that it gives.
  id       INTEGER PRIMARY KEY,
  name     TEXT    NOT NULL,
  priority INTEGER NOT NULL, -- resync_priority.id
  meaning  TEXT    NOT NULL
) STRICT;
INSERT INTO resync_reason (id, name, priority, meaning) VALUES
  (1, 'discontinuity', 1, 'a commit does not follow our head'),
  (2, 'unprovable', 1, 'a real commit that was refused'),
  (3, 'rotated', 1, 'signing key or host changed'),
  (4, 'sync', 2, 'a #sync event with other data'),
  (5, 'reactivated', 2, 'the account is active again'),
  (6, 'identity', 2, 'look the DID document up'),
  (7, 'status', 2, 'ask the PDS for the account''s status'),
  (8, 'first-sight', 3, 'first event of an unknown repo'),
  (9, 'backfill', 4, 'found by a crawl'),
  (10, 'not-found', 6, 'ask again for what does not exist'),
  (11, 'missed-rev', 6, 'there is a newer rev than ours'),
  (12, 'prove', 6, 'a claim waits for proof'),
  (13, 'operator', 6, 'asked for by the operator (reserved)'),
  (14, 'audit', 1, 'a commit shows that a row is wrong'),
  (15, 'refresh', 6, 'the DID document was looked up long ago');

CREATE TABLE statement (
  -- What a source says of a repo and is believed only once it has said so again (resync_queue.said).
  id      INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL,
  meaning TEXT    NOT NULL
) STRICT;
INSERT INTO statement (id, name, meaning) VALUES
  (1, 'no such repo', 'the host has no such repo, or refuses it by every method and serves others; believed when it says so again ten minutes later'),
  (2, 'no such DID', 'the directory has no such document; believed when it says so again ten minutes later'),
  (3, 'older rev', 'the host serves a rev below seen_rev; three equal answers over an hour are a restored backup');

CREATE TABLE resync_queue (
  -- One row for each repo that an attempt must be made at. What is done follows from the repo's own state:
  -- resolve the identity if it is missing or stale, ask for the status if the account is inactive or a
  -- check is due, fetch the tree if the rows are wrong or unproven.
  repo_id     INTEGER PRIMARY KEY,
  reason      INTEGER NOT NULL, -- resync_reason.id. It is for people and gives the priority; what must not be lost has
                                -- columns of its own: identity.stale, ask_status, want_rev, said
  priority    INTEGER NOT NULL, -- resync_priority.id
  not_before  INTEGER NOT NULL, -- unix microseconds; back-off and later checks
  parked        INTEGER NOT NULL DEFAULT 0 CHECK (parked IN (0, 1)), -- 1 = backfill that waits for the PLC directory's log
  attempts    INTEGER NOT NULL DEFAULT 0, -- failures in a row
  generation  INTEGER NOT NULL, -- raised by whatever makes a fetch under way worthless
  lease       INTEGER,          -- the generation that a worker took; NULL = nobody works on it
  want_rev    INTEGER,          -- the newest rev heard of and not reached; harmless once our head is there
  ask_status  INTEGER NOT NULL DEFAULT 0 CHECK (ask_status IN (0, 1)), -- 1 = ask the PDS for the account's status
  identity_checks      INTEGER NOT NULL DEFAULT 0, -- how often the DID document is still to be looked up because of an
                                -- #identity: twice, since replicas of the directory lag; 0 once it has changed
  queued_at   INTEGER NOT NULL,
  said        INTEGER,          -- statement.id: what is not believed yet,
  said_rev    INTEGER,          -- of which rev,
  said_times  INTEGER NOT NULL DEFAULT 0, -- how often it was said
  said_since  INTEGER,          -- and since when
  host_id     INTEGER NOT NULL, -- who is asked next: host_queue.host_id (view repo_host_queue)
  due_at      INTEGER AS (CASE WHEN lease IS NULL AND parked = 0 THEN not_before END) VIRTUAL
              -- when a worker may take it; NULL = one has it, or it is parked
) STRICT;
CREATE INDEX resync_queue_due ON resync_queue (host_id, priority, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX resync_queue_leased ON resync_queue (lease) WHERE lease IS NOT NULL;

CREATE TABLE host_queue (
  -- One row for each host, and two for those who are asked for DID documents: how it may be asked, and for
  -- what it is asked next.
  host_id        INTEGER PRIMARY KEY,        -- host.id; 0 = the PLC directory, -1 = all hosts of did:web
  share          INTEGER NOT NULL DEFAULT 4, -- how many attempts may ask it at once
  running        INTEGER NOT NULL DEFAULT 0, -- attempts that ask it now; 0 at every start
  answers        INTEGER NOT NULL DEFAULT 0, -- resyncs that it answered
  failures       INTEGER NOT NULL DEFAULT 0, -- failed requests in a row; what fails at one moment counts once, and so does
                                             -- a repo that fails again and again
  failed_repo_id INTEGER,                    -- the repo of the last one that was counted; NULL = it was about no repo
  rate           REAL,                       -- requests per second that it allows; NULL = the default
  served_at      INTEGER NOT NULL DEFAULT 0, -- its last turn; 0 = it had none
  next_at        INTEGER NOT NULL DEFAULT 0, -- its pace allows no request before then. While it is asked for
                                             -- several things, whoever asks it may be ahead of this
  cooldown_until INTEGER NOT NULL DEFAULT 0, -- no request before then either

  -- The head of its rows in resync_queue. It may be earlier than they are, never later: rows that come move it
  -- forward by triggers, and whoever finds that it was too early reads the queue again.
  priority       INTEGER, -- of the row that it is asked for next; NULL = none waits
  due_at         INTEGER, -- when that one is due
  better_at      INTEGER, -- when another one may have to go before it; NULL = never

  unproven INTEGER NOT NULL AS (host_id = -1 OR (host_id > 0 AND (answers = 0 OR failures > 0))) VIRTUAL,
           -- 1 = nobody knows whether it answers in time. It gets one attempt at a time, and all of them together
           -- a part of the workers. The hosts of did:web stay so, because anyone can make them up
  ready_at INTEGER AS (CASE WHEN running < CASE WHEN host_id = -1 THEN share WHEN unproven THEN 1
                                                WHEN host_id = 0 AND failures >= 3 THEN 1 ELSE share END
                            THEN max(due_at, served_at, next_at, cooldown_until) END) VIRTUAL
           -- its place among those of one priority; NULL = nothing waits, or as many ask it as may
) STRICT;
CREATE INDEX host_queue_ready ON host_queue (unproven, priority, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX host_queue_better ON host_queue (better_at) WHERE better_at IS NOT NULL;
INSERT INTO host_queue (host_id) VALUES (0), (-1);

CREATE TRIGGER host_queue_added AFTER INSERT ON host BEGIN
  INSERT INTO host_queue (host_id) VALUES (new.id);
END;

CREATE TRIGGER host_queue_row AFTER INSERT ON resync_queue WHEN new.due_at IS NOT NULL BEGIN
  -- A row waits: the head of its host moves forward if it is later. A row of another priority than the head's
  -- only says when to choose anew.
  UPDATE host_queue SET
    better_at = CASE WHEN priority IS NULL OR priority = new.priority THEN better_at
                     ELSE min(coalesce(better_at, new.due_at), new.due_at) END,
    due_at = CASE WHEN priority IS NULL OR priority = new.priority THEN new.due_at ELSE due_at END,
    priority = coalesce(priority, new.priority)
  WHERE host_id = new.host_id
    AND (priority IS NULL OR (new.priority >= priority AND new.due_at < due_at)
         OR (new.priority < priority AND (better_at IS NULL OR new.due_at < better_at)));
END;

CREATE TRIGGER host_queue_moved AFTER UPDATE OF host_id, priority, not_before, parked, lease ON resync_queue
WHEN new.due_at IS NOT NULL BEGIN
  -- The same for a row that waits again, or for somebody else.
  UPDATE host_queue SET
    better_at = CASE WHEN priority IS NULL OR priority = new.priority THEN better_at
                     ELSE min(coalesce(better_at, new.due_at), new.due_at) END,
    due_at = CASE WHEN priority IS NULL OR priority = new.priority THEN new.due_at ELSE due_at END,
    priority = coalesce(priority, new.priority)
  WHERE host_id = new.host_id
    AND (priority IS NULL OR (new.priority >= priority AND new.due_at < due_at)
         OR (new.priority < priority AND (better_at IS NULL OR new.due_at < better_at)));
END;

CREATE TABLE resync_buffer (
  -- Proven commits of repos that are being fetched, to be replayed when the fetch is done.
  repo_id INTEGER NOT NULL,
  rev     INTEGER NOT NULL,
  prev    BLOB    NOT NULL, -- data that the commit starts from
  data    BLOB    NOT NULL,
  cid     BLOB    NOT NULL,
  present TEXT    NOT NULL, -- JSON array: collections that it touched and that exist after it
  died    TEXT    NOT NULL, -- JSON array: collections that it emptied
  PRIMARY KEY (repo_id, rev)
) STRICT, WITHOUT ROWID;

-- Refusals.

CREATE TABLE refusal (
  -- One row for each reason for which something from outside was ever refused.
  reason  TEXT    PRIMARY KEY, -- see docs/refusals.md
  count   INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  sample  TEXT    NOT NULL     -- JSON array of the last few: source, did, detail, at
) STRICT, WITHOUT ROWID;

-- Tallies: counts kept by triggers, so that no query can forget them and no statistic scans a table.

CREATE TABLE repo_tally (
  -- How many repos are in each state.
  state  INTEGER PRIMARY KEY, -- repo.state
  repos  INTEGER NOT NULL,
  active INTEGER NOT NULL     -- those whose account is active
) STRICT;

CREATE TRIGGER repo_added AFTER INSERT ON repo BEGIN
  INSERT INTO repo_tally (state, repos, active) VALUES (new.state, 1, new.active)
  ON CONFLICT (state) DO UPDATE SET repos = repos + 1, active = active + excluded.active;
END;

CREATE TRIGGER repo_changed AFTER UPDATE OF state, active ON repo
WHEN old.state <> new.state OR old.active <> new.active BEGIN
  UPDATE repo_tally SET repos = repos - 1, active = active - old.active WHERE state = old.state;
  INSERT INTO repo_tally (state, repos, active) VALUES (new.state, 1, new.active)
  ON CONFLICT (state) DO UPDATE SET repos = repos + 1, active = active + excluded.active;
END;

CREATE TRIGGER repo_removed AFTER DELETE ON repo BEGIN
  UPDATE repo_tally SET repos = repos - 1, active = active - old.active WHERE state = old.state;
END;

CREATE TABLE collection_tally (
  -- One row: the sums over collection.
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  collections INTEGER NOT NULL, -- with at least one visible member
  memberships INTEGER NOT NULL  -- visible rows
) STRICT;

CREATE TRIGGER collection_changed AFTER UPDATE OF members ON collection WHEN new.id > 0 BEGIN
  INSERT INTO collection_tally (one, collections, memberships)
  VALUES (1, (new.members > 0) - (old.members > 0), new.members - old.members)
  ON CONFLICT (one) DO UPDATE SET collections = collections + excluded.collections,
                                  memberships = memberships + excluded.memberships;
END;

CREATE TABLE queue_tally (
  -- How many rows resync_queue has.
  priority INTEGER PRIMARY KEY, -- resync_priority.id
  waiting  INTEGER NOT NULL
) STRICT;

CREATE TRIGGER resync_queued AFTER INSERT ON resync_queue BEGIN
  INSERT INTO queue_tally (priority, waiting) VALUES (new.priority, 1)
  ON CONFLICT (priority) DO UPDATE SET waiting = waiting + 1;
END;

CREATE TRIGGER resync_moved AFTER UPDATE OF priority ON resync_queue WHEN old.priority <> new.priority BEGIN
  UPDATE queue_tally SET waiting = waiting - 1 WHERE priority = old.priority;
  INSERT INTO queue_tally (priority, waiting) VALUES (new.priority, 1)
  ON CONFLICT (priority) DO UPDATE SET waiting = waiting + 1;
END;

CREATE TRIGGER resync_unqueued AFTER DELETE ON resync_queue BEGIN
  UPDATE queue_tally SET waiting = waiting - 1 WHERE priority = old.priority;
END;

CREATE TRIGGER identity_added AFTER INSERT ON identity BEGIN
  UPDATE host SET accounts = accounts + 1 WHERE id = new.host_id;
END;

CREATE TRIGGER identity_moved AFTER UPDATE OF host_id ON identity WHEN old.host_id <> new.host_id BEGIN
  UPDATE host SET accounts = accounts - 1 WHERE id = old.host_id;
  UPDATE host SET accounts = accounts + 1 WHERE id = new.host_id;
END;

CREATE TRIGGER identity_removed AFTER DELETE ON identity BEGIN
  UPDATE host SET accounts = accounts - 1 WHERE id = old.host_id;
END;

CREATE VIEW repo_host_queue AS
  -- Whom would an attempt at a repo ask next? (resync_queue.host_id)
  SELECT r.id AS repo_id,
         CASE WHEN i.stale = 0 THEN i.host_id WHEN r.did GLOB 'did:plc:*' THEN 0 ELSE -1 END AS host_id
  FROM repo r LEFT JOIN identity i ON i.repo_id = r.id;

-- Views for people.

CREATE VIEW repos_by_collection AS
  -- Which repos have records in a collection? Ask with WHERE nsid = '...'.
  SELECT c.nsid, r.did, m.seq,
         (SELECT s.name FROM membership_source s WHERE s.id = m.source) AS source
  FROM collection c CROSS JOIN membership m CROSS JOIN repo r
  WHERE m.collection_id = c.id AND m.seq > 0 AND r.id = m.repo_id;

CREATE VIEW repo_collections AS
  -- Which collections does a repo have? Ask with WHERE did = '...'.
  SELECT r.did, c.nsid, m.seq > 0 AS visible, abs(m.seq) AS seq,
         (SELECT s.name FROM membership_source s WHERE s.id = m.source) AS source,
         (SELECT datetime(k.minute * 60, 'unixepoch') FROM seq_clock k
          WHERE k.seq <= abs(m.seq) ORDER BY k.seq DESC LIMIT 1) AS since
  FROM repo r CROSS JOIN membership m CROSS JOIN collection c
  WHERE m.repo_id = r.id AND c.id = m.collection_id;

CREATE VIEW collection_stats AS
  -- How many visible members does each collection have?
  SELECT nsid, members, datetime(first_seen_at / 1000000, 'unixepoch') AS first_seen
  FROM collection WHERE members > 0 AND id > 0;

CREATE VIEW repo_info AS
  -- Everything about a repo, in words. Ask with WHERE did = '...'.
  SELECT r.did,
         s.name AS state, r.active, r.status, f.name AS status_from, datetime(r.status_at / 1000000, 'unixepoch') AS status_since,
         r.seq > 0 AS visible, p.name AS proof,
         datetime(r.proven_at / 1000000, 'unixepoch') AS proven,
         o.hostname AS host, hex(i.signing_key) AS signing_key, i.stale AS identity_stale,
         h.rev,
         'f01711220' || lower(hex(h.data)) AS data, -- a valid CID, in base16
         'f01711220' || lower(hex(h.cid)) AS "commit",
         r.error, datetime(r.error_at / 1000000, 'unixepoch') AS error_time,
         t.name AS said, q.said_times, datetime(q.said_since / 1000000, 'unixepoch') AS said_since
  FROM repo r
  LEFT JOIN repo_state s ON s.id = r.state
  LEFT JOIN status_source f ON f.id = r.status_from
  LEFT JOIN resync_queue q ON q.repo_id = r.id
  LEFT JOIN statement t ON t.id = q.said
  LEFT JOIN proof p ON p.id = r.proof
  LEFT JOIN repo_head h ON h.repo_id = r.id
  LEFT JOIN identity i ON i.repo_id = r.id
  LEFT JOIN host o ON o.id = i.host_id;

CREATE VIEW resync_backlog AS
  -- Who waits for an attempt, and why?
  SELECT r.did, q.priority, q.attempts,
         y.name AS reason,
         datetime(q.not_before / 1000000, 'unixepoch') AS due,
         q.lease IS NOT NULL AS leased, q.parked,
         o.hostname AS host, r.error
  FROM resync_queue q
  JOIN repo r ON r.id = q.repo_id
  LEFT JOIN resync_reason y ON y.id = q.reason
  LEFT JOIN identity i ON i.repo_id = q.repo_id
  LEFT JOIN host o ON o.id = i.host_id;

CREATE VIEW host_health AS
  -- Which hosts fail us?
  SELECT h.hostname, h.status, h.accounts, q.failures, q.answers,
         datetime(nullif(q.cooldown_until, 0) / 1000000, 'unixepoch') AS cooldown,
         h.error, datetime(h.error_at / 1000000, 'unixepoch') AS error_time
  FROM host h JOIN host_queue q ON q.host_id = h.id;

CREATE VIEW crawls AS
  -- Which servers are crawled, and how far?
  SELECT coalesce(u.url, h.hostname) AS server, h.listed_status,
         CASE WHEN c.started_at IS NOT NULL THEN 'under way' WHEN c.due_at = 0 THEN 'begins' ELSE 'at rest' END AS state,
         datetime(nullif(c.due_at, 0) / 1000000, 'unixepoch') AS due, c.cursor, c.failures,
         datetime(c.started_at / 1000000, 'unixepoch') AS started,
         datetime(c.finished_at / 1000000, 'unixepoch') AS finished,
         (SELECT count(*) FROM repo r WHERE r.found_host_id = h.id) AS candidates
  FROM crawl c
  LEFT JOIN upstream u ON c.kind = 'upstream' AND u.id = c.server_id
  LEFT JOIN host h ON c.kind = 'host' AND h.id = c.server_id;

-- Invariants: what holds after every transaction.

CREATE TABLE invariant (
  -- The rules that "railyard check" goes through, in this order.
  id          INTEGER PRIMARY KEY,
  name        TEXT    NOT NULL UNIQUE,
  explanation TEXT    NOT NULL
) STRICT;
INSERT INTO invariant (name, explanation) VALUES
  ('listed repos', 'a repo is listed exactly if its account is active and its set is proven'),
  ('visible rows', 'a membership is visible exactly if its repo''s account is active and its set is proven'),
  ('unique numbers', 'no birth number is given twice, over memberships and repos together'),
  ('numbers below next', 'every birth number is below meta.next_seq'),
  ('clock', 'seq_clock tells of every visible row when it was born'),
  ('members', 'collection.members counts the visible rows of the collection, those of all repos the listed ones'),
  ('hours', 'collection_hour adds up to the visible rows of each collection'),
  ('collection tally', 'collection_tally has the sums over collection'),
  ('repo tally', 'repo_tally counts the repos of each state'),
  ('queue tally', 'queue_tally counts the rows of resync_queue'),
  ('host accounts', 'host.accounts counts the identities that name the host'),
  ('synchronized', 'a synchronized repo is active and has proof, head and identity'),
  ('unproven', 'a repo that is a candidate or was not found has no proof'),
  ('heads', 'a candidate has no head, and what is proven has one'),
  ('revs', 'revs are TIDs, which are not negative'),
  ('earlier keys', 'a set that an earlier key has signed has the rev up to which such keys count'),
  ('accounts', 'an active account has no status word, an inactive one is neither fetched nor followed'),
  ('proof times', 'a proof has its time'),
  ('identities', 'whoever is fetched, inactive or has a head has a resolved identity'),
  ('queued', 'an active repo that is not synchronized waits in the queue'),
  ('claims', 'a synchronized repo whose set is a claim waits in the queue for its proof'),
  ('stale identities', 'a repo whose identity is stale waits in the queue'),
  ('resyncing', 'a repo is resyncing only while a worker holds its row of the queue'),
  ('queue rows', 'reason and priority are known, what is said is counted, no lease is ahead of its generation'),
  ('queue hosts', 'a row of the queue names whoever is asked next'),
  ('host queues', 'whoever may be asked has a queue, whose head is not later than its rows'),
  ('parked', 'what is parked is backfill that waits for the PLC directory''s log, and its identity is not trusted'),
  ('plc log', 'what was seen of the PLC directory''s log lies behind the place up to which it was read'),
  ('buffer', 'buffered commits belong to resyncing repos, are whole and not too many'),
  ('orphans', 'every row belongs to a repo, a collection or a host that is there'),
  ('changes', 'changes have a cause that fits and a number that was given, and the last one of a row says whether it is visible'),
  ('sources', 'a membership was brought by a commit, a resync or an import'),
  ('digests', 'data and cid of a head are SHA-256 digests'),
  ('keys', 'a signing key is a compressed point with the prefix of its curve'),
  ('flags', 'states and flags have one of their values'),
  ('found', 'a repo that only one listing or upstream tells of has no identity, and that is there'),
  ('crawls', 'a crawl is one of a server that is there, has begun if it has come somewhere, and is due if it was asked for'),
  ('refusals', 'the sample of a refusal is a list, not longer than its count'),
  ('meta', 'meta has its one row with a valid index id'),
  -- The grammar of names, packed bytes and the pages of the file are beyond SQL: the program has these five.
  ('listings', 'listing_block has the visible rows of each collection in the order of their numbers, and the digest is theirs'),
  ('dids', 'every DID is one that can own a repo'),
  ('nsids', 'every collection is an NSID'),
  ('hosts', 'every host name is canonical'),
  ('file', 'SQLite finds the pages of the file in order');

CREATE VIEW violation AS
  -- Which rows break an invariant, and how? A sound file has none.
  --
  -- Ask for one with WHERE invariant = '...': the others cost nothing then. That is so as long as no SELECT below
  -- groups at its own level, joins a subquery that has to be stored first, or is ordered.

  -- listed repos: a repo is listed exactly if its account is active and its set is proven.
  -- A proof stays good while a repo is desynchronized or fetched again: the state says nothing here.
  SELECT 'listed repos' AS invariant,
         r.did || ': ' || iif(r.seq > 0, 'listed', 'not listed') || ', active ' || r.active
         || ', proof ' || coalesce(r.proof, 'none') AS what
  FROM repo r
  WHERE (r.seq > 0) <> (r.active = 1 AND r.proof IS NOT NULL)

  -- visible rows: a membership is visible exactly if its repo's account is active and its set is proven.
  UNION ALL
  SELECT 'visible rows',
         r.did || '/' || coalesce(c.nsid, 'collection ' || m.collection_id) || ': '
         || iif(m.seq > 0, 'visible', 'hidden') || ', its repo has active ' || r.active
         || ', proof ' || coalesce(r.proof, 'none')
  FROM repo r CROSS JOIN membership m LEFT JOIN collection c ON c.id = m.collection_id
  WHERE m.repo_id = r.id AND (m.seq > 0) <> (r.active = 1 AND r.proof IS NOT NULL)

  -- unique numbers: no birth number is given twice, over memberships and repos together.
  UNION ALL
  SELECT 'unique numbers', 'number ' || n.seq || ': given ' || n.times || ' times'
  FROM (SELECT seq, count(*) AS times
        FROM (SELECT abs(m.seq) AS seq FROM membership m UNION ALL SELECT r.seq FROM repo r WHERE r.seq > 0)
        GROUP BY seq HAVING count(*) > 1) n

  -- numbers below next: every birth number is below meta.next_seq.
  UNION ALL
  SELECT 'numbers below next',
         'membership of repo ' || m.repo_id || ' in collection ' || m.collection_id || ': number ' || abs(m.seq)
         || ', the next is ' || k.next_seq
  FROM meta k CROSS JOIN membership m
  WHERE abs(m.seq) >= k.next_seq
  UNION ALL
  SELECT 'numbers below next', r.did || ': number ' || r.seq || ', the next is ' || k.next_seq
  FROM meta k CROSS JOIN repo r
  WHERE r.seq > 0 AND r.seq >= k.next_seq

  -- clock: seq_clock tells of every visible row when it was born.
  UNION ALL
  SELECT 'clock', 'number ' || k.seq || ' at minute ' || k.minute || ': not a number that was given'
  FROM seq_clock k
  WHERE k.seq < 1 OR k.seq >= (SELECT next_seq FROM meta)
  UNION ALL
  SELECT 'clock', 'number ' || k.seq || ' at minute ' || k.minute || ': the row before has that minute too'
  FROM seq_clock k
  WHERE k.minute = (SELECT p.minute FROM seq_clock p WHERE p.seq < k.seq ORDER BY p.seq DESC LIMIT 1)
  UNION ALL
  SELECT 'clock', 'number ' || k.seq || ' at minute ' || k.minute || ': not after 1970'
  FROM seq_clock k
  WHERE k.minute < 1
  UNION ALL
  SELECT 'clock', 'number ' || m.seq || ': visible, but older than the clock'
  FROM membership m
  WHERE m.seq > 0 AND m.seq < (SELECT coalesce(min(seq), 9223372036854775807) FROM seq_clock)

  -- members: collection.members counts the visible rows of the collection, those of all repos the listed ones.
  UNION ALL
  SELECT 'members', iif(c.id = 0, 'listed repos', c.nsid) || ': members ' || c.members || ', visible rows ' || c.visible
  FROM (SELECT id, nsid, members,
               iif(id = 0, (SELECT count(*) FROM repo r WHERE r.seq > 0),
                   (SELECT count(*) FROM membership m WHERE m.collection_id = collection.id AND m.seq > 0)) AS visible
        FROM collection) c
  WHERE c.members <> c.visible

  -- hours: collection_hour adds up to the visible rows of each collection.
  UNION ALL
  SELECT 'hours', iif(c.id = 0, 'listed repos', c.nsid) || ': members ' || c.members || ', by its hours ' || c.sum
  FROM (SELECT id, nsid, members,
               (SELECT coalesce(sum(h.births - h.deaths), 0) FROM collection_hour h WHERE h.collection_id = collection.id) AS sum
        FROM collection) c
  WHERE c.members <> c.sum
  UNION ALL
  SELECT 'hours', 'collection ' || h.collection_id || ', hour ' || h.hour || ': ' || h.births || ' births, ' || h.deaths || ' deaths'
  FROM collection_hour h
  WHERE h.births < 0 OR h.deaths < 0 OR h.births + h.deaths = 0
     OR NOT EXISTS (SELECT 1 FROM collection c WHERE c.id = h.collection_id)

  -- collection tally: collection_tally has the sums over collection.
  UNION ALL
  SELECT 'collection tally',
         'collection_tally: ' || t.collections || ' collections and ' || t.memberships || ' memberships too many'
  FROM (SELECT coalesce(sum(collections), 0) AS collections, coalesce(sum(memberships), 0) AS memberships
        FROM (SELECT collections, memberships FROM collection_tally
              UNION ALL
              SELECT -1, -members FROM collection WHERE members > 0 AND id > 0)) t
  WHERE t.collections <> 0 OR t.memberships <> 0

  -- repo tally: repo_tally counts the repos of each state.
  UNION ALL
  SELECT 'repo tally',
         'state ' || t.state || ': repo_tally has ' || t.repos || ' repos and ' || t.active || ' active ones too many'
  FROM (SELECT state, sum(repos) AS repos, sum(active) AS active
        FROM (SELECT state, repos, active FROM repo_tally
              UNION ALL
              SELECT state, -count(*), -sum(active) FROM repo GROUP BY state)
        GROUP BY state) t
  WHERE t.repos <> 0 OR t.active <> 0

  -- queue tally: queue_tally counts the rows of resync_queue.
  UNION ALL
  SELECT 'queue tally', 'priority ' || t.priority || ': queue_tally has ' || t.waiting || ' rows too many'
  FROM (SELECT priority, sum(waiting) AS waiting
        FROM (SELECT priority, waiting FROM queue_tally
              UNION ALL
              SELECT priority, -count(*) FROM resync_queue GROUP BY priority)
        GROUP BY priority) t
  WHERE t.waiting <> 0

  -- host accounts: host.accounts counts the identities that name the host.
  UNION ALL
  SELECT 'host accounts', h.hostname || ': accounts ' || h.accounts || ', identities ' || h.identities
  FROM (SELECT hostname, accounts, (SELECT count(*) FROM identity i WHERE i.host_id = host.id) AS identities FROM host) h
  WHERE h.accounts <> h.identities

  -- synchronized: a synchronized repo is active and has proof, head and identity.
  UNION ALL
  SELECT 'synchronized',
         r.did || ': synchronized, but' || iif(r.active = 1, '', ' inactive')
         || iif(r.proof IS NULL, ' without proof', '') || iif(h.repo_id IS NULL, ' without head', '')
         || iif(i.repo_id IS NULL, ' without identity', '')
  FROM repo r LEFT JOIN repo_head h ON h.repo_id = r.id LEFT JOIN identity i ON i.repo_id = r.id
  WHERE r.state = 3 AND (r.active <> 1 OR r.proof IS NULL OR h.repo_id IS NULL OR i.repo_id IS NULL)

  -- unproven: a repo that is a candidate or was not found has no proof.
  UNION ALL
  SELECT 'unproven', r.did || ': ' || s.name || ' with proof ' || r.proof
  FROM repo r CROSS JOIN repo_state s
  WHERE s.id = r.state AND r.state IN (0, 4) AND r.proof IS NOT NULL

  -- heads: a candidate has no head, and what is proven has one.
  -- Without one is a candidate, a repo whose first fetch runs or was voided, and one that its host lost: only
  -- the first certainly has none.
  UNION ALL
  SELECT 'heads', r.did || ': ' || iif(h.repo_id IS NULL, 'proof ' || r.proof || ' without a head', 'candidate with a head')
  FROM repo r LEFT JOIN repo_head h ON h.repo_id = r.id
  WHERE (r.state = 0 AND h.repo_id IS NOT NULL) OR (r.proof IS NOT NULL AND h.repo_id IS NULL)

  -- revs: revs are TIDs, which are not negative.
  UNION ALL
  SELECT 'revs', r.did || ': rev ' || coalesce(h.rev, 'none') || ', seen ' || coalesce(r.seen_rev, 'none')
  FROM repo r LEFT JOIN repo_head h ON h.repo_id = r.id
  WHERE h.rev < 0 OR r.seen_rev < 0

  -- earlier keys: a set that an earlier key has signed has the rev up to which such keys count.
  UNION ALL
  SELECT 'earlier keys',
         r.did || ': proof ' || coalesce(r.proof, 'none') || ', earlier keys up to rev ' || coalesce(i.earlier_rev, 'none')
  FROM repo r JOIN identity i ON i.repo_id = r.id
  WHERE i.earlier_rev <= 0 OR (r.proof = 3 AND i.earlier_rev IS NULL)

  -- accounts: an active account has no status word, an inactive one is neither fetched nor followed.
  UNION ALL
  SELECT 'accounts', r.did || ': ' || iif(r.active = 1, 'active, but ' || r.status, 'inactive, but ' || s.name)
  FROM repo r CROSS JOIN repo_state s
  WHERE s.id = r.state AND ((r.active = 1 AND r.status IS NOT NULL) OR (r.active = 0 AND r.state IN (2, 3)))

  -- proof times: a proof has its time.
  UNION ALL
  SELECT 'proof times', r.did || ': proof ' || r.proof || ' without its time'
  FROM repo r
  WHERE r.proof IS NOT NULL AND r.proven_at IS NULL

  -- identities: whoever is fetched, inactive or has a head has a resolved identity.
  UNION ALL
  SELECT 'identities',
         r.did || ': ' || CASE WHEN r.state = 2 THEN 'resyncing' WHEN r.active = 0 THEN 'inactive' ELSE 'with a head' END
         || ', but no identity'
  FROM repo r
  WHERE (r.state = 2 OR r.active = 0 OR EXISTS (SELECT 1 FROM repo_head h WHERE h.repo_id = r.id))
    AND NOT EXISTS (SELECT 1 FROM identity i WHERE i.repo_id = r.id)

  -- queued: an active repo that is not synchronized waits in the queue.
  UNION ALL
  SELECT 'queued', r.did || ': state ' || r.state || ', active, but not in the queue'
  FROM repo r
  WHERE r.active = 1 AND r.state <> 3 AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id)

  -- claims: a synchronized repo whose set is a claim waits in the queue for its proof.
  UNION ALL
  SELECT 'claims', r.did || ': proof 4, and not in the queue'
  FROM repo r
  WHERE r.proof = 4 AND r.state = 3 AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id)

  -- stale identities: a repo whose identity is stale waits in the queue.
  UNION ALL
  SELECT 'stale identities', coalesce(r.did, 'repo ' || i.repo_id) || ': its identity is stale, but it is not in the queue'
  FROM identity i LEFT JOIN repo r ON r.id = i.repo_id
  WHERE i.stale = 1 AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = i.repo_id)

  -- resyncing: a repo is resyncing only while a worker holds its row of the queue.
  UNION ALL
  SELECT 'resyncing', r.did || ': resyncing, but ' || iif(q.repo_id IS NULL, 'not in the queue', 'leased by nobody')
  FROM repo r LEFT JOIN resync_queue q ON q.repo_id = r.id
  WHERE r.state = 2 AND q.lease IS NULL

  -- queue rows: reason and priority are known, what is said is counted, no lease is ahead of its generation.
  UNION ALL
  SELECT 'queue rows',
         coalesce(r.did, 'repo ' || q.repo_id) || ': reason ' || q.reason || ', priority ' || q.priority
         || ', attempts ' || q.attempts || ', generation ' || q.generation
         || ', lease ' || coalesce(q.lease, 'none') || ', said ' || coalesce(q.said, 'none') || ' x ' || q.said_times
  FROM resync_queue q LEFT JOIN repo r ON r.id = q.repo_id
  WHERE q.reason NOT IN (SELECT id FROM resync_reason) OR q.priority NOT IN (SELECT id FROM resync_priority)
     OR q.said NOT IN (SELECT id FROM statement) OR (q.said IS NULL) <> (q.said_times = 0)
     OR (q.said IS NULL) <> (q.said_since IS NULL)
     OR q.attempts < 0 OR q.generation < 0 OR q.lease NOT BETWEEN 0 AND q.generation

  -- queue hosts: a row of the queue names whoever is asked next.
  UNION ALL
  SELECT 'queue hosts', r.did || ': host ' || q.host_id || ', but host ' || h.host_id || ' is asked next'
  FROM resync_queue q CROSS JOIN repo r CROSS JOIN repo_host_queue h
  WHERE r.id = q.repo_id AND h.repo_id = q.repo_id AND q.host_id <> h.host_id

  -- host queues: whoever may be asked has a queue, whose head is not later than its rows.
  -- The first row of each host and priority is sought: the queue has many more rows than that.
  UNION ALL
  SELECT 'host queues', coalesce(o.hostname, 'host ' || a.host_id) || ': it has no queue'
  FROM (SELECT id AS host_id FROM host UNION ALL SELECT 0 UNION ALL SELECT -1) a LEFT JOIN host o ON o.id = a.host_id
  WHERE NOT EXISTS (SELECT 1 FROM host_queue h WHERE h.host_id = a.host_id)
  UNION ALL
  SELECT 'host queues', coalesce(o.hostname, 'host ' || h.host_id) || ': ' || h.running || ' attempts ask it'
  FROM host_queue h LEFT JOIN host o ON o.id = h.host_id
  WHERE h.running < 0
  UNION ALL
  SELECT 'host queues',
         coalesce(o.hostname, 'host ' || h.host_id) || ': a row of priority ' || h.row_priority || ' is due at '
         || h.row_due || ', but its head has priority ' || coalesce(h.priority, 'none') || ', is due at '
         || coalesce(h.due_at, 'no time') || ' and is read again at ' || coalesce(h.better_at, 'no time')
  FROM (SELECT g.host_id, g.priority, g.due_at, g.better_at, p.id AS row_priority,
               (SELECT min(q.due_at) FROM resync_queue q
                WHERE q.due_at IS NOT NULL AND q.host_id = g.host_id AND q.priority = p.id) AS row_due
        FROM host_queue g CROSS JOIN resync_priority p) h
  LEFT JOIN host o ON o.id = h.host_id
  WHERE h.row_due IS NOT NULL
    AND NOT coalesce(h.row_priority > h.priority OR (h.row_priority = h.priority AND h.due_at <= h.row_due)
                     OR h.better_at <= h.row_due, 0)

  -- parked: what is parked is backfill that waits for the PLC directory's log, and its identity is not
  -- trusted.
  UNION ALL
  SELECT 'parked',
         coalesce(r.did, 'repo ' || q.repo_id) || ': parked, but '
         || CASE WHEN NOT EXISTS (SELECT 1 FROM plc_log WHERE done = 0) THEN 'no log is being read'
                 WHEN q.priority <> 4 THEN 'priority ' || q.priority
                 WHEN q.lease IS NOT NULL THEN 'leased'
                 ELSE 'its identity is not stale' END
  FROM resync_queue q LEFT JOIN repo r ON r.id = q.repo_id
  WHERE q.parked = 1
    AND (q.priority <> 4 OR q.lease IS NOT NULL OR NOT EXISTS (SELECT 1 FROM plc_log WHERE done = 0)
         OR EXISTS (SELECT 1 FROM identity i WHERE i.repo_id = q.repo_id AND i.stale = 0))

  -- plc log: what was seen of the PLC directory's log lies behind the place up to which it was read.
  UNION ALL
  SELECT 'plc log', 'plc_log: seen is no object'
  FROM plc_log
  WHERE iif(json_valid(seen), json_type(seen), '') <> 'object'
  UNION ALL
  SELECT 'plc log', 'plc_log: it has seen ' || e.key || ' of ' || coalesce(e.value, 'nowhere')
  FROM plc_log l CROSS JOIN json_each(iif(json_valid(l.seen), l.seen, '{}')) e
  WHERE e.type <> 'integer' OR e.value <= l.after
  UNION ALL
  SELECT 'plc log', 'plc_log: done ' || done || ', form ' || coalesce(form, 'unknown') || ', after ' || after
  FROM plc_log
  WHERE done NOT IN (0, 1) OR after < 0
     OR iif(form IS NULL, after <> 0 OR seen <> '{}', form NOT IN ('seq', 'time'))

  -- buffer: buffered commits belong to resyncing repos, are whole and not too many.
  -- A repo has at most 256 commits in it.
  UNION ALL
  SELECT 'buffer', coalesce(r.did, 'repo ' || b.repo_id) || ': rev ' || b.rev || ', the repo is not resyncing'
  FROM resync_buffer b LEFT JOIN repo r ON r.id = b.repo_id
  WHERE r.state IS NOT 2
  UNION ALL
  SELECT 'buffer', coalesce(r.did, 'repo ' || b.repo_id) || ': rev ' || b.rev || ', a digest that is not 32 bytes'
  FROM resync_buffer b LEFT JOIN repo r ON r.id = b.repo_id
  WHERE length(b.prev) <> 32 OR length(b.data) <> 32 OR length(b.cid) <> 32
  UNION ALL
  SELECT 'buffer', coalesce(r.did, 'repo ' || b.repo_id) || ': rev ' || b.rev || ', present or died is no list'
  FROM resync_buffer b LEFT JOIN repo r ON r.id = b.repo_id
  WHERE iif(json_valid(b.present), json_type(b.present), '') <> 'array'
     OR iif(json_valid(b.died), json_type(b.died), '') <> 'array'
  UNION ALL
  SELECT 'buffer', coalesce(r.did, 'repo ' || b.repo_id) || ': rev ' || b.rev || ', the last of ' || b.commits
  FROM (SELECT repo_id, max(rev) AS rev, count(*) AS commits FROM resync_buffer GROUP BY repo_id) b
  LEFT JOIN repo r ON r.id = b.repo_id
  WHERE b.commits > 256

  -- orphans: every row belongs to a repo, a collection or a host that is there.
  UNION ALL
  SELECT 'orphans', 'membership, repo ' || m.repo_id || ': there is no such repo'
  FROM (SELECT DISTINCT repo_id FROM membership) m
  WHERE NOT EXISTS (SELECT 1 FROM repo r WHERE r.id = m.repo_id)
  UNION ALL
  SELECT 'orphans', 'membership, collection ' || m.collection_id || ': there is no such collection'
  FROM (SELECT DISTINCT collection_id FROM membership) m
  WHERE NOT EXISTS (SELECT 1 FROM collection c WHERE c.id = m.collection_id)
  UNION ALL
  SELECT 'orphans', 'repo_head, repo ' || h.repo_id || ': there is no such repo'
  FROM repo_head h
  WHERE NOT EXISTS (SELECT 1 FROM repo r WHERE r.id = h.repo_id)
  UNION ALL
  SELECT 'orphans', 'identity, repo ' || i.repo_id || ': there is no such repo'
  FROM identity i
  WHERE NOT EXISTS (SELECT 1 FROM repo r WHERE r.id = i.repo_id)
  UNION ALL
  SELECT 'orphans', 'identity of repo ' || i.repo_id || ', host ' || i.host_id || ': there is no such host'
  FROM identity i
  WHERE NOT EXISTS (SELECT 1 FROM host o WHERE o.id = i.host_id)
  UNION ALL
  SELECT 'orphans', 'resync_queue, repo ' || q.repo_id || ': there is no such repo'
  FROM resync_queue q
  WHERE NOT EXISTS (SELECT 1 FROM repo r WHERE r.id = q.repo_id)
  UNION ALL
  SELECT 'orphans', 'resync_buffer, repo ' || b.repo_id || ': there is no such repo'
  FROM resync_buffer b
  WHERE NOT EXISTS (SELECT 1 FROM repo r WHERE r.id = b.repo_id)
  UNION ALL
  SELECT 'orphans', 'membership_change ' || f.seq || ', repo ' || f.repo_id || ': there is no such repo'
  FROM membership_change f
  WHERE NOT EXISTS (SELECT 1 FROM repo r WHERE r.id = f.repo_id)
  UNION ALL
  SELECT 'orphans', 'membership_change ' || f.seq || ', collection ' || f.collection_id || ': there is no such collection'
  FROM membership_change f
  WHERE NOT EXISTS (SELECT 1 FROM collection c WHERE c.id = f.collection_id)

  -- changes: changes have a cause that fits and a number that was given, and the last one of a row says whether it is
  -- visible.
  UNION ALL
  SELECT 'changes',
         coalesce(r.did, 'repo ' || f.repo_id) || '/' || coalesce(c.nsid, 'collection ' || f.collection_id)
         || ': change ' || f.seq || ', visible ' || f.visible || ' by cause ' || f.cause
  FROM membership_change f LEFT JOIN repo r ON r.id = f.repo_id LEFT JOIN collection c ON c.id = f.collection_id
  WHERE NOT EXISTS (SELECT 1 FROM change_cause k WHERE k.id = f.cause AND k.visible = f.visible)
     OR f.seq NOT BETWEEN (SELECT changes_after + 1 FROM meta) AND (SELECT next_seq - 1 FROM meta)
  UNION ALL
  SELECT 'changes',
         coalesce(r.did, 'repo ' || f.repo_id) || '/' || coalesce(c.nsid, 'collection ' || f.collection_id)
         || ': change ' || f.seq || ', the last one, says visible ' || f.visible || ' and the row says ' || f.shown
  FROM (SELECT n.seq, n.repo_id, n.collection_id, n.visible,
               CASE WHEN n.collection_id = 0 THEN (SELECT r.seq > 0 FROM repo r WHERE r.id = n.repo_id)
                    ELSE EXISTS (SELECT 1 FROM membership m
                                 WHERE m.repo_id = n.repo_id AND m.collection_id = n.collection_id AND m.seq > 0) END AS shown
        FROM (SELECT g.seq, g.repo_id, g.collection_id, g.visible,
                     max(iif(g.collection_id = 0, g.seq, 0)) OVER (PARTITION BY g.repo_id) AS whole_seq
              FROM (SELECT max(l.seq) AS seq, l.repo_id, l.collection_id, l.visible
                    FROM membership_change l GROUP BY l.repo_id, l.collection_id) g) n
        WHERE n.seq >= n.whole_seq) f
  LEFT JOIN repo r ON r.id = f.repo_id LEFT JOIN collection c ON c.id = f.collection_id
  WHERE f.visible <> f.shown

  -- sources: a membership was brought by a commit, a resync or an import.
  -- Those are the ids of membership_source: to look each row up there takes twice the time.
  UNION ALL
  SELECT 'sources', coalesce(r.did, 'repo ' || m.repo_id) || ': source ' || m.source
  FROM membership m LEFT JOIN repo r ON r.id = m.repo_id
  WHERE m.source NOT BETWEEN 1 AND 3

  -- digests: data and cid of a head are SHA-256 digests.
  UNION ALL
  SELECT 'digests',
         coalesce(r.did, 'repo ' || h.repo_id) || ': data of ' || length(h.data) || ' bytes, cid of ' || length(h.cid)
  FROM repo_head h LEFT JOIN repo r ON r.id = h.repo_id
  WHERE length(h.data) <> 32 OR length(h.cid) <> 32

  -- keys: a signing key is a compressed point with the prefix of its curve.
  UNION ALL
  SELECT 'keys', coalesce(r.did, 'repo ' || i.repo_id) || ': signing key ' || hex(substr(i.signing_key, 1, 40))
  FROM identity i LEFT JOIN repo r ON r.id = i.repo_id
  WHERE length(i.signing_key) <> 35 OR substr(i.signing_key, 1, 2) NOT IN (x'e701', x'8024')
     OR substr(i.signing_key, 3, 1) NOT IN (x'02', x'03')

  -- flags: states and flags have one of their values.
  UNION ALL
  SELECT 'flags',
         r.did || ': active ' || r.active || ', state ' || r.state || ', proof ' || coalesce(r.proof, 'none')
         || ', seq ' || r.seq
  FROM repo r
  WHERE r.active NOT IN (0, 1) OR r.state NOT IN (SELECT id FROM repo_state)
     OR r.proof NOT IN (SELECT id FROM proof) OR r.seq < 0
     OR r.status_from NOT IN (SELECT id FROM status_source) OR (r.status_from IS NULL) <> r.active
     OR (r.status_from IS NULL) <> (r.status_at IS NULL)
  UNION ALL
  SELECT 'flags', 'identity of repo ' || i.repo_id || ': stale ' || i.stale
  FROM identity i
  WHERE i.stale NOT IN (0, 1)
  UNION ALL
  SELECT 'flags', 'resync_queue, repo ' || q.repo_id || ': parked ' || q.parked || ', ask_status ' || q.ask_status
  FROM resync_queue q
  WHERE q.parked NOT IN (0, 1) OR q.ask_status NOT IN (0, 1)
  UNION ALL
  SELECT 'flags', 'membership, repo ' || m.repo_id || ', collection ' || m.collection_id || ': seq 0'
  FROM membership m
  WHERE m.seq = 0
  UNION ALL
  SELECT 'flags', 'upstream ' || u.url || ': kind ' || u.kind
  FROM upstream u
  WHERE u.kind NOT IN ('relay', 'pds')
  UNION ALL
  SELECT 'flags', 'host ' || o.hostname || ': insecure ' || o.insecure
  FROM host o
  WHERE o.insecure NOT IN (0, 1)
  UNION ALL
  SELECT 'flags', 'membership_change ' || f.seq || ': visible ' || f.visible
  FROM membership_change f
  WHERE f.visible NOT IN (0, 1)

  -- found: a repo that only one listing or upstream tells of has no identity, and that is there.
  UNION ALL
  SELECT 'found',
         r.did || ': found at ' || iif(r.found_host_id < 0, 'upstream ', 'host ') || abs(r.found_host_id) || ', '
         || iif(o.id IS NULL AND u.id IS NULL, 'which is not there', 'but its document was seen')
  FROM repo r LEFT JOIN host o ON o.id = r.found_host_id LEFT JOIN upstream u ON u.id = -r.found_host_id
  LEFT JOIN identity i ON i.repo_id = r.id
  WHERE r.found_host_id IS NOT NULL AND (o.id IS NULL AND u.id IS NULL OR i.repo_id IS NOT NULL)

  -- crawls: a crawl is one of a server that is there, has begun if it has come somewhere, and is due if it was asked
  -- for.
  -- Hosts that are offline or banned are not crawled.
  UNION ALL
  SELECT 'crawls',
         'crawl of ' || c.kind || ' ' || c.server_id || ': due ' || coalesce(c.due_at, 'never') || ', again ' || c.again
         || ', cursor ' || coalesce(c.cursor, 'none') || ', started ' || coalesce(c.started_at, 'never')
         || ', failures ' || c.failures
  FROM crawl c
  WHERE c.due_at < 0 OR c.again NOT IN (0, 1) OR c.failures < 0
     OR (c.cursor IS NOT NULL AND c.started_at IS NULL)
     OR ((c.started_at IS NOT NULL OR c.again = 1) AND c.due_at IS NULL)
  UNION ALL
  SELECT 'crawls', 'crawl of upstream ' || c.server_id || ': there is no such upstream'
  FROM crawl c
  WHERE c.kind = 'upstream' AND NOT EXISTS (SELECT 1 FROM upstream u WHERE u.id = c.server_id)
  UNION ALL
  SELECT 'crawls', 'crawl of host ' || c.server_id || ': ' || coalesce(o.hostname || ' is ' || o.listed_status, 'there is no such host')
  FROM crawl c LEFT JOIN host o ON o.id = c.server_id
  WHERE c.kind = 'host' AND (o.id IS NULL OR o.listed_status IN ('offline', 'banned'))

  -- refusals: the sample of a refusal is a list, not longer than its count.
  UNION ALL
  SELECT 'refusals', f.reason || ': count ' || f.count || ', sample ' || substr(f.sample, 1, 80)
  FROM refusal f
  WHERE f.count < iif(json_valid(f.sample), json_array_length(f.sample), 0)
     OR iif(json_valid(f.sample), json_type(f.sample), '') <> 'array'

  -- meta: meta has its one row with a valid index id.
  UNION ALL
  SELECT 'meta', 'meta: ' || m.n || ' rows'
  FROM (SELECT count(*) AS n FROM meta) m
  WHERE m.n <> 1
  UNION ALL
  SELECT 'meta', 'meta: index id ' || index_id
  FROM meta
  WHERE length(index_id) <> 13 OR index_id GLOB '*[^a-z2-7]*'
  UNION ALL
  SELECT 'meta', 'meta: next number ' || next_seq
  FROM meta
  WHERE next_seq < 1;
