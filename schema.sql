-- railyard's one file: which repos have records in which collections.
--
-- Look at it with a recent sqlite3 (3.41 or newer; never run ANALYZE on it):
--   SELECT did FROM repos_by_collection WHERE nsid = 'app.bsky.feed.post' LIMIT 10;
-- The views at the end are for people; the tables are narrow for the disk.
-- Comments stand inside the parentheses because SQLite keeps them there.
-- Columns that end in _at or _until are unix microseconds. Revs are TIDs as
-- integers, CIDs the 32 bytes of their SHA-256.

CREATE TABLE meta (
  -- One row: what this file is.
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  index_id   TEXT    NOT NULL, -- names this index in every cursor; a copy that diverges needs a new one
  next_seq   INTEGER NOT NULL, -- the next birth number; raised at every start to 32 times the unix milliseconds, or by 2^20,
                               -- because a power cut or a restore may have taken back numbers that a client holds
  created_at INTEGER NOT NULL,
  created_by TEXT    NOT NULL, -- the version that made the file
  opened_by  TEXT    NOT NULL  -- the version that wrote to it last
) STRICT;

CREATE TABLE repo (
  -- One row for each DID ever seen.
  id        INTEGER PRIMARY KEY,
  did       TEXT    NOT NULL UNIQUE,
  state     INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 4),
            -- 0 candidate: heard of, never proven
            -- 1 desynchronized: the rows may be wrong; it waits in resync_queue
            -- 2 resyncing: a worker fetches it; its commits go to resync_buffer
            -- 3 synchronized: commits are applied by compare-and-swap
            -- 4 not_found: its host says twice that it has no such repo
  active    INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
            -- the account's hosting status as its PDS has it; inactive accounts are not listed
  status    TEXT,    -- the word that explains: takendown, suspended, deactivated, deleted, ...; NULL = none
  seq       INTEGER NOT NULL DEFAULT 0 CHECK (seq >= 0),
            -- the birth number of the repo's own listing; 0 = not visible.
            -- Visible means: active = 1 and proof known
  proof     INTEGER CHECK (proof BETWEEN 1 AND 4),
            -- how the set of collections was established: 1 tree (the whole signed tree was walked),
            -- 2 probe (signed absence and presence proofs), 3 old-key (signed by an earlier key of the DID),
            -- 4 claim (the host's word: describeRepo, or the ops of a commit of Sync 1.0); NULL = never, or void:
            -- the account came back, or the host has the repo no more
  proven_at INTEGER, -- when that was; stays when the proof is void
  seen_rev  INTEGER, -- highest rev of a commit with a valid signature that could not be applied: an older
                     -- answer of the host is stale
  error     TEXT,    -- the last failure of a resync, NULL after a success
  error_at  INTEGER,
  found_at  INTEGER, -- the host whose listing alone tells of this DID; NULL once its document was seen, or it
                     -- was found otherwise
  harmless_rev INTEGER -- a listed rev that the PDS itself does not have: listings that repeat it are no reason to look
) STRICT;
CREATE UNIQUE INDEX repo_by_seq ON repo (seq) WHERE seq > 0;

CREATE TABLE repo_head (
  -- One row for each repo whose signed head is known. Updated by every commit.
  repo_id INTEGER PRIMARY KEY,
  rev     INTEGER NOT NULL,                          -- rev of the last applied commit
  data    BLOB    NOT NULL CHECK (length(data) = 32), -- root of its tree
  cid     BLOB    NOT NULL CHECK (length(cid) = 32)   -- the commit itself
) STRICT;

CREATE TABLE identity (
  -- One row for each DID whose document was resolved.
  repo_id     INTEGER PRIMARY KEY,
  signing_key BLOB    NOT NULL, -- multicodec prefix (e701 K-256, 8024 P-256) and the compressed point
  host_id     INTEGER NOT NULL, -- the PDS that the document names
  fetched_at  INTEGER NOT NULL,
  stale       INTEGER NOT NULL DEFAULT 0 CHECK (stale IN (0, 1)), -- 1 = something may have changed: look again
  checked_at  INTEGER,          -- when the PDS was last asked for the account's status because events disagreed
  earlier_rev INTEGER           -- what was seen of the repo up to this rev, and nothing beyond, may be signed by an
                                -- earlier key of the DID: the key has changed since, or the head is of an account
                                -- that moved and has not written yet. NULL = nothing was
) STRICT;
CREATE INDEX identity_by_host ON identity (host_id);

-- Whoever stores another key: what was seen until then was signed by the one before.
CREATE TRIGGER identity_rekeyed AFTER UPDATE OF signing_key ON identity
WHEN old.signing_key <> new.signing_key BEGIN
  UPDATE identity SET earlier_rev = (
    SELECT nullif(max(coalesce(r.seen_rev, 0), coalesce(
      (SELECT h.rev FROM repo_head h WHERE h.repo_id = r.id), 0)), 0)
    FROM repo r WHERE r.id = new.repo_id)
  WHERE repo_id = new.repo_id;
END;

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
  crawl_cursor   TEXT,                    -- where the walk of its listRepos stands
  crawled_at     INTEGER,                 -- when that walk last ended
  listed_status  TEXT,    -- what a relay's listHosts says of it: active, idle, offline, throttled, banned
  crawl_due_at   INTEGER, -- when the walk of its listRepos begins or goes on (--crawl deep); NULL = never
  crawl_again    INTEGER NOT NULL DEFAULT 0 CHECK (crawl_again IN (0, 1)), -- 1 = asked for since the walk began
  crawl_failures INTEGER NOT NULL DEFAULT 0, -- of the walk, in a row
  crawl_paused   INTEGER NOT NULL DEFAULT 0 CHECK (crawl_paused IN (0, 1)),
                 -- 1 = the walk waits at its cursor until candidates are resolved
  candidates     INTEGER NOT NULL DEFAULT 0, -- repos whose found_at is this host; kept by triggers
  proven         INTEGER NOT NULL DEFAULT 0, -- candidates whose document named this host
  misled         INTEGER NOT NULL DEFAULT 0, -- candidates whose document named another, or that do not exist
  room           INTEGER AS (100 + 4 * proven - misled - candidates) VIRTUAL
                 -- how many candidates more it may have: a host that lists what is not its own gets none
) STRICT;
CREATE INDEX host_crawl_due ON host (crawl_due_at) WHERE crawl_due_at IS NOT NULL;

CREATE TABLE collection (
  -- One row for each NSID that ever had a member.
  id      INTEGER PRIMARY KEY,
  nsid    TEXT    NOT NULL UNIQUE,
  members INTEGER NOT NULL DEFAULT 0 -- visible members
) STRICT;
CREATE INDEX collection_by_members ON collection (members DESC, nsid) WHERE members > 0;

CREATE TABLE membership (
  -- One row for each repo and collection in which its tree has a key.
  collection_id INTEGER NOT NULL,
  seq           INTEGER NOT NULL CHECK (seq <> 0),
                -- birth number, unique over the index, given in the transaction that makes the row visible;
                -- pages are ordered by it and cursors carry it. Negative = not visible
  repo_id       INTEGER NOT NULL,
  source        INTEGER NOT NULL, -- what brought it: 1 commit, 2 resync, 3 import
  PRIMARY KEY (collection_id, seq),
  UNIQUE (repo_id, collection_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE seq_clock (
  -- The birth number reached when a minute began: tells when a row was born.
  seq    INTEGER PRIMARY KEY,
  minute INTEGER NOT NULL -- unix minutes
) STRICT;

CREATE TABLE membership_change (
  -- The change feed: every row that became visible or invisible, but for the births of a repo's first
  -- backfill. Old rows are deleted after a week.
  id            INTEGER PRIMARY KEY AUTOINCREMENT, -- its cursor; never reused
  changed_at    INTEGER NOT NULL,
  repo_id       INTEGER NOT NULL,
  collection_id INTEGER NOT NULL,
  visible       INTEGER NOT NULL CHECK (visible IN (0, 1)), -- what it became
  cause         INTEGER NOT NULL
                -- 1 birth, 2 death, 3 account inactive, 4 account active again or repo found again,
                -- 5 import proven, 6 repo not found
) STRICT;
CREATE INDEX membership_change_by_time ON membership_change (changed_at);

CREATE TABLE upstream (
  -- One row for each firehose ever followed.
  id                INTEGER PRIMARY KEY,
  url               TEXT    NOT NULL UNIQUE,
  kind              TEXT    CHECK (kind IN ('relay', 'pds')), -- found at connect; NULL = never connected
  cursor            INTEGER, -- everything up to this sequence number is in this file; NULL = start live
  last_event_at     INTEGER, -- when the event of the cursor arrived here
  crawl_cursor      TEXT,    -- where the walk of its listRepos stands
  crawl_wanted_at   INTEGER, -- a walk was asked for (first connect, lost events, the sweep); cleared when one
                             -- that began later has ended
  crawl_started_at  INTEGER,
  crawl_finished_at INTEGER,
  crawl_again       INTEGER NOT NULL DEFAULT 0 CHECK (crawl_again IN (0, 1))
                    -- 1 = no walk has begun since one was asked for last. Times do not tell: clocks are set
) STRICT;

CREATE TABLE plc_log (
  -- At most one row: how far the log of the PLC directory was read (--plc-export).
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  url      TEXT    NOT NULL, -- of the server
  after_at INTEGER NOT NULL, -- operations made up to then are in this file; 0 = none
  seen     TEXT    NOT NULL, -- JSON object: later ones that are in this file too, by CID, and when they were made
  done     INTEGER NOT NULL CHECK (done IN (0, 1))
           -- 1 = its end was reached once. Until then backfill of a did:plc whose document was never looked
           -- at is held back, not before the year 9999; what its identity says meanwhile is stale
) STRICT;

CREATE TABLE resync_queue (
  -- One row for each repo that somebody must look at. What is done follows from the repo's own state:
  -- resolve the identity if it is missing or stale, ask for the status if the account is inactive or a
  -- check is due, fetch the tree if the rows are wrong or unproven.
  repo_id     INTEGER PRIMARY KEY,
  reason      INTEGER NOT NULL,
              -- 1 discontinuity: a commit does not follow our head      2 unprovable: a real commit that was refused
              -- 3 rotated: signing key or host changed                  4 sync: a #sync event with other data
              -- 5 reactivated: the account is active again              6 identity: look at the DID document
              -- 7 status: ask the PDS for the account's status          8 first-sight: first event of an unknown repo
              -- 9 backfill: found by a crawl                           10 not-found: a second look
              -- 11 sweep: there is a newer rev than ours               12 prove: a claim waits for proof
              -- 13 operator: asked for                               14 audit: a commit shows that a row is wrong
              -- 15 refresh: the DID document was last looked at long ago
              -- The reason is for people and gives the priority; what must not be lost has columns of its
              -- own: identity.stale, ask_status, want_rev, missing_since.
  priority    INTEGER NOT NULL, -- lower first: 1 live discontinuity, 2 sync and checks, 3 first sight,
                                -- 4 backfill, 5 retries, 6 background
  background  INTEGER NOT NULL CHECK (background IN (0, 1)), -- 1 = the repo's rows are in service meanwhile
  not_before  INTEGER NOT NULL, -- unix microseconds; back-off and second looks
  attempts    INTEGER NOT NULL DEFAULT 0, -- failures in a row
  generation  INTEGER NOT NULL, -- raised by whatever makes a fetch under way worthless
  claim       INTEGER,          -- the generation that a worker took; NULL = nobody works on it
  want_rev    INTEGER,          -- the newest rev heard of but not held; harmless once our head is there
  ask_status  INTEGER NOT NULL DEFAULT 0 CHECK (ask_status IN (0, 1)), -- 1 = ask the PDS for the account's status
  missing_since INTEGER,        -- when the PDS first said that it has no such repo, and when the directory said
  unresolved_since INTEGER,     -- that it has no such DID; believed when it is said again ten minutes later
  looks       INTEGER NOT NULL DEFAULT 0, -- how often the DID document is still to be looked at because of an
                                -- #identity: twice, since replicas of the directory lag; 0 once it has changed
  queued_at   INTEGER NOT NULL,
  stale_rev   INTEGER,          -- a fetched rev below seen_rev, and how often it came since when: three equal
  stale_count INTEGER NOT NULL DEFAULT 0, -- answers over an hour are a restored backup and are believed
  stale_since INTEGER,
  host_id     INTEGER NOT NULL DEFAULT 0 -- who is asked next, kept by triggers: host_queue.host_id
) STRICT;
CREATE INDEX resync_queue_by_host ON resync_queue (host_id, priority, not_before) WHERE claim IS NULL;
CREATE INDEX resync_queue_claimed ON resync_queue (claim) WHERE claim IS NOT NULL;

CREATE TABLE resync_priority (
  -- The priorities of the queue, the most urgent first. A query that joins it seeks each of them in an index.
  id   INTEGER PRIMARY KEY, -- resync_queue.priority
  name TEXT NOT NULL
) STRICT;
INSERT INTO resync_priority VALUES
  (1, 'live'), (2, 'check'), (3, 'first-sight'), (4, 'backfill'), (5, 'retry'), (6, 'background');

CREATE TABLE host_queue (
  -- One row for each host, and two for those who are asked for DID documents: how it may be asked, and for
  -- what it is asked next.
  host_id        INTEGER PRIMARY KEY,        -- host.id; 0 = the PLC directory, -1 = all hosts of did:web
  share          INTEGER NOT NULL DEFAULT 4, -- how many attempts may ask it at once
  running        INTEGER NOT NULL DEFAULT 0, -- attempts that ask it now; 0 at every start
  answers        INTEGER NOT NULL DEFAULT 0, -- resyncs that it answered
  failures       INTEGER NOT NULL DEFAULT 0, -- failed requests in a row; what fails at one moment counts once
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
           -- a part of the workers. The hosts of did:web stay so, because strangers make them up
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

CREATE TRIGGER host_queue_head AFTER UPDATE OF host_id, priority, not_before, claim ON resync_queue WHEN new.claim IS NULL BEGIN
  -- A row waits: the head of its host moves forward if it is later. A row of another priority than the head's
  -- only says when to choose anew.
  UPDATE host_queue SET
    better_at = CASE WHEN priority IS NULL OR priority = new.priority THEN better_at
                     ELSE min(coalesce(better_at, new.not_before), new.not_before) END,
    due_at = CASE WHEN priority IS NULL OR priority = new.priority THEN new.not_before ELSE due_at END,
    priority = coalesce(priority, new.priority)
  WHERE host_id = new.host_id
    AND (priority IS NULL OR (new.priority >= priority AND new.not_before < due_at)
         OR (new.priority < priority AND (better_at IS NULL OR new.not_before < better_at)));
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

CREATE TABLE refusal (
  -- One row for each reason for which something from outside was ever refused.
  reason  TEXT    PRIMARY KEY, -- see docs/refusals.md
  count   INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  sample  TEXT    NOT NULL     -- JSON array of the last few: source, did, detail, at
) STRICT, WITHOUT ROWID;

-- Counts kept by triggers, so that no query can forget them and no statistic scans a table.

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
  UPDATE host SET candidates = candidates - 1, misled = misled + 1 WHERE id = old.found_at;
END;

-- Candidates of a host: what it lists and nobody has confirmed.

CREATE TRIGGER candidate_found AFTER INSERT ON repo WHEN new.found_at IS NOT NULL BEGIN
  UPDATE host SET candidates = candidates + 1 WHERE id = new.found_at;
END;

CREATE TRIGGER candidate_closed AFTER UPDATE OF found_at ON repo
WHEN old.found_at IS NOT NULL AND new.found_at IS NULL BEGIN
  UPDATE host SET candidates = candidates - 1 WHERE id = old.found_at;
END;

CREATE TRIGGER candidate_resolved AFTER INSERT ON identity BEGIN
  UPDATE host SET proven = proven + (id = new.host_id), misled = misled + (id <> new.host_id)
  WHERE id = (SELECT r.found_at FROM repo r WHERE r.id = new.repo_id);
  UPDATE repo SET found_at = NULL WHERE id = new.repo_id AND found_at IS NOT NULL;
END;

CREATE TRIGGER candidates_fewer AFTER UPDATE OF candidates ON host
WHEN new.crawl_paused = 1 AND new.candidates < old.candidates AND new.room > 0 AND new.room >= new.candidates BEGIN
  -- The walk that waits for it goes on.
  UPDATE host SET crawl_paused = 0, crawl_due_at = 0 WHERE id = new.id AND crawl_due_at IS NOT NULL;
END;

CREATE TABLE collection_tally (
  -- One row: the sums over collection.
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  collections INTEGER NOT NULL, -- with at least one visible member
  memberships INTEGER NOT NULL  -- visible rows
) STRICT;

CREATE TRIGGER collection_changed AFTER UPDATE OF members ON collection BEGIN
  INSERT INTO collection_tally (one, collections, memberships)
  VALUES (1, (new.members > 0) - (old.members > 0), new.members - old.members)
  ON CONFLICT (one) DO UPDATE SET collections = collections + excluded.collections,
                                  memberships = memberships + excluded.memberships;
END;

CREATE TABLE queue_tally (
  -- How many rows resync_queue has.
  background INTEGER PRIMARY KEY, -- resync_queue.background
  waiting    INTEGER NOT NULL
) STRICT;

CREATE TRIGGER resync_queued AFTER INSERT ON resync_queue BEGIN
  INSERT INTO queue_tally (background, waiting) VALUES (new.background, 1)
  ON CONFLICT (background) DO UPDATE SET waiting = waiting + 1;
END;

CREATE TRIGGER resync_moved AFTER UPDATE OF background ON resync_queue
WHEN old.background <> new.background BEGIN
  UPDATE queue_tally SET waiting = waiting - 1 WHERE background = old.background;
  INSERT INTO queue_tally (background, waiting) VALUES (new.background, 1)
  ON CONFLICT (background) DO UPDATE SET waiting = waiting + 1;
END;

CREATE TRIGGER resync_unqueued AFTER DELETE ON resync_queue BEGIN
  UPDATE queue_tally SET waiting = waiting - 1 WHERE background = old.background;
END;

-- Who is asked next for a waiting repo follows from its identity. The rule stands in one view.

CREATE VIEW repo_host_queue AS
  -- Whom would an attempt at a repo ask next? (resync_queue.host_id)
  SELECT r.id AS repo_id,
         CASE WHEN i.stale = 0 THEN i.host_id WHEN r.did GLOB 'did:plc:*' THEN 0 ELSE -1 END AS host_id
  FROM repo r LEFT JOIN identity i ON i.repo_id = r.id;

CREATE TRIGGER resync_queue_host AFTER INSERT ON resync_queue BEGIN
  -- Also where nothing changes: that is how the head of the host hears of the row.
  UPDATE resync_queue SET host_id = coalesce((SELECT h.host_id FROM repo_host_queue h WHERE h.repo_id = new.repo_id), 0)
  WHERE repo_id = new.repo_id;
END;

CREATE TRIGGER identity_host AFTER INSERT ON identity BEGIN
  UPDATE resync_queue SET host_id = (SELECT h.host_id FROM repo_host_queue h WHERE h.repo_id = new.repo_id)
  WHERE repo_id = new.repo_id AND host_id <> (SELECT h.host_id FROM repo_host_queue h WHERE h.repo_id = new.repo_id);
END;

CREATE TRIGGER identity_moved_host AFTER UPDATE OF stale, host_id ON identity
WHEN old.stale <> new.stale OR old.host_id <> new.host_id BEGIN
  UPDATE resync_queue SET host_id = (SELECT h.host_id FROM repo_host_queue h WHERE h.repo_id = new.repo_id)
  WHERE repo_id = new.repo_id AND host_id <> (SELECT h.host_id FROM repo_host_queue h WHERE h.repo_id = new.repo_id);
END;

-- Views for people.

CREATE VIEW repos_by_collection AS
  -- Which repos have records in a collection? Ask with WHERE nsid = '...'.
  SELECT c.nsid, r.did, m.seq,
         CASE m.source WHEN 1 THEN 'commit' WHEN 2 THEN 'resync' ELSE 'import' END AS source
  FROM collection c CROSS JOIN membership m CROSS JOIN repo r
  WHERE m.collection_id = c.id AND m.seq > 0 AND r.id = m.repo_id;

CREATE VIEW repo_collections AS
  -- Which collections does a repo have? Ask with WHERE did = '...'.
  SELECT r.did, c.nsid, m.seq > 0 AS visible, abs(m.seq) AS seq,
         CASE m.source WHEN 1 THEN 'commit' WHEN 2 THEN 'resync' ELSE 'import' END AS source,
         (SELECT datetime(k.minute * 60, 'unixepoch') FROM seq_clock k
          WHERE k.seq <= abs(m.seq) ORDER BY k.seq DESC LIMIT 1) AS since
  FROM repo r CROSS JOIN membership m CROSS JOIN collection c
  WHERE m.repo_id = r.id AND c.id = m.collection_id;

CREATE VIEW collection_stats AS
  -- How many visible members does each collection have?
  SELECT nsid, members FROM collection WHERE members > 0;

CREATE VIEW repo_info AS
  -- Everything about a repo, in words. Ask with WHERE did = '...'.
  SELECT r.did,
         CASE r.state WHEN 0 THEN 'candidate' WHEN 1 THEN 'desynchronized' WHEN 2 THEN 'resyncing'
                      WHEN 3 THEN 'synchronized' ELSE 'not_found' END AS state,
         r.active, r.status, r.seq > 0 AS visible,
         CASE r.proof WHEN 1 THEN 'tree' WHEN 2 THEN 'probe' WHEN 3 THEN 'old-key' WHEN 4 THEN 'claim' END AS proof,
         datetime(r.proven_at / 1000000, 'unixepoch') AS proven,
         o.hostname AS host, hex(i.signing_key) AS signing_key, i.stale AS identity_stale,
         h.rev,
         'f01711220' || lower(hex(h.data)) AS data, -- a valid CID, in base16
         'f01711220' || lower(hex(h.cid)) AS "commit",
         r.error, datetime(r.error_at / 1000000, 'unixepoch') AS error_time
  FROM repo r
  LEFT JOIN repo_head h ON h.repo_id = r.id
  LEFT JOIN identity i ON i.repo_id = r.id
  LEFT JOIN host o ON o.id = i.host_id;

CREATE VIEW resync_backlog AS
  -- Who waits to be looked at, and why?
  SELECT r.did, q.priority, q.background, q.attempts,
         CASE q.reason WHEN 1 THEN 'discontinuity' WHEN 2 THEN 'unprovable' WHEN 3 THEN 'rotated' WHEN 4 THEN 'sync'
                       WHEN 5 THEN 'reactivated' WHEN 6 THEN 'identity' WHEN 7 THEN 'status' WHEN 8 THEN 'first-sight'
                       WHEN 9 THEN 'backfill' WHEN 10 THEN 'not-found' WHEN 11 THEN 'sweep' WHEN 12 THEN 'prove'
                       WHEN 13 THEN 'operator' WHEN 14 THEN 'audit' ELSE 'refresh' END AS reason,
         datetime(q.not_before / 1000000, 'unixepoch') AS due,
         q.claim IS NOT NULL AS claimed,
         o.hostname AS host, r.error
  FROM resync_queue q
  JOIN repo r ON r.id = q.repo_id
  LEFT JOIN identity i ON i.repo_id = q.repo_id
  LEFT JOIN host o ON o.id = i.host_id;

CREATE VIEW host_health AS
  -- Which hosts fail us?
  SELECT h.hostname, h.status, q.failures, q.answers,
         datetime(nullif(q.cooldown_until, 0) / 1000000, 'unixepoch') AS cooldown,
         h.error, datetime(h.error_at / 1000000, 'unixepoch') AS error_time
  FROM host h JOIN host_queue q ON q.host_id = h.id;

CREATE VIEW host_crawls AS
  -- Which hosts are walked, and how far (--crawl deep)?
  SELECT hostname, listed_status,
         CASE WHEN crawl_due_at IS NULL THEN 'never' WHEN crawl_paused = 1 THEN 'waits for candidates'
              WHEN crawl_cursor IS NOT NULL THEN 'under way' ELSE 'between walks' END AS walk,
         datetime(nullif(crawl_due_at, 0) / 1000000, 'unixepoch') AS due, crawl_cursor AS cursor, crawl_failures AS failures,
         datetime(crawled_at / 1000000, 'unixepoch') AS crawled, candidates, proven, misled, room
  FROM host;
