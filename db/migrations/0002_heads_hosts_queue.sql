-- What the second version of the schema adds.
ALTER TABLE repo_head ADD COLUMN unchecked INTEGER NOT NULL DEFAULT 0 CHECK (unchecked IN (0, 1));
ALTER TABLE resync_buffer ADD COLUMN unchecked INTEGER NOT NULL DEFAULT 0 CHECK (unchecked IN (0, 1));
ALTER TABLE host ADD COLUMN watched_until INTEGER NOT NULL DEFAULT 0;
CREATE INDEX host_watched ON host (watched_until) WHERE watched_until > 0;

DROP VIEW repo_info;
CREATE VIEW repo_info AS
  -- Everything about a repo, in words. Ask with WHERE did = '...'.
  SELECT r.did,
         CASE r.state WHEN 0 THEN 'candidate' WHEN 1 THEN 'desynchronized' WHEN 2 THEN 'resyncing'
                      WHEN 3 THEN 'synchronized' ELSE 'not_found' END AS state,
         r.active, r.status, r.seq > 0 AS visible,
         CASE r.proof WHEN 1 THEN 'tree' WHEN 2 THEN 'probe' WHEN 3 THEN 'old-key' WHEN 4 THEN 'claim' END AS proof,
         datetime(r.proven_at / 1000000, 'unixepoch') AS proven,
         o.hostname AS host, hex(i.signing_key) AS signing_key, i.stale AS identity_stale,
         h.rev, h.unchecked AS head_unchecked,
         'f01711220' || lower(hex(h.data)) AS data, -- a valid CID, in base16
         'f01711220' || lower(hex(h.cid)) AS "commit",
         r.error, datetime(r.error_at / 1000000, 'unixepoch') AS error_time
  FROM repo r
  LEFT JOIN repo_head h ON h.repo_id = r.id
  LEFT JOIN identity i ON i.repo_id = r.id
  LEFT JOIN host o ON o.id = i.host_id;

DROP VIEW resync_backlog;
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

ALTER TABLE resync_queue ADD COLUMN lane INTEGER NOT NULL DEFAULT 0;
DROP INDEX resync_queue_due;
CREATE VIEW repo_lane AS
  -- Whom would a look at a repo ask next? (resync_queue.lane)
  SELECT r.id AS repo_id,
         CASE WHEN i.stale = 0 THEN i.host_id WHEN r.did GLOB 'did:plc:*' THEN 0 ELSE -1 END AS lane
  FROM repo r LEFT JOIN identity i ON i.repo_id = r.id;
UPDATE resync_queue SET lane = (SELECT l.lane FROM repo_lane l WHERE l.repo_id = resync_queue.repo_id)
WHERE repo_id IN (SELECT r.id FROM repo r);
CREATE INDEX resync_queue_lanes ON resync_queue (lane, priority, not_before) WHERE claim IS NULL;
CREATE TRIGGER resync_lane AFTER INSERT ON resync_queue BEGIN
  UPDATE resync_queue SET lane = (SELECT l.lane FROM repo_lane l WHERE l.repo_id = new.repo_id)
  WHERE repo_id = new.repo_id AND lane <> (SELECT l.lane FROM repo_lane l WHERE l.repo_id = new.repo_id);
END;

CREATE TRIGGER identity_lane AFTER INSERT ON identity BEGIN
  UPDATE resync_queue SET lane = (SELECT l.lane FROM repo_lane l WHERE l.repo_id = new.repo_id)
  WHERE repo_id = new.repo_id AND lane <> (SELECT l.lane FROM repo_lane l WHERE l.repo_id = new.repo_id);
END;

CREATE TRIGGER identity_moved_lane AFTER UPDATE OF stale, host_id ON identity
WHEN old.stale <> new.stale OR old.host_id <> new.host_id BEGIN
  UPDATE resync_queue SET lane = (SELECT l.lane FROM repo_lane l WHERE l.repo_id = new.repo_id)
  WHERE repo_id = new.repo_id AND lane <> (SELECT l.lane FROM repo_lane l WHERE l.repo_id = new.repo_id);
END;
ALTER TABLE upstream ADD COLUMN crawl_again INTEGER NOT NULL DEFAULT 0 CHECK (crawl_again IN (0, 1));
UPDATE upstream SET crawl_again = 1 WHERE crawl_wanted_at IS NOT NULL;

ALTER TABLE repo ADD COLUMN found_at INTEGER;
ALTER TABLE repo ADD COLUMN harmless_rev INTEGER;
ALTER TABLE host ADD COLUMN listed_status TEXT;
ALTER TABLE host ADD COLUMN crawl_due_at INTEGER;
ALTER TABLE host ADD COLUMN crawl_again INTEGER NOT NULL DEFAULT 0 CHECK (crawl_again IN (0, 1));
ALTER TABLE host ADD COLUMN crawl_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE host ADD COLUMN crawl_paused INTEGER NOT NULL DEFAULT 0 CHECK (crawl_paused IN (0, 1));
ALTER TABLE host ADD COLUMN candidates INTEGER NOT NULL DEFAULT 0;
ALTER TABLE host ADD COLUMN proven INTEGER NOT NULL DEFAULT 0;
ALTER TABLE host ADD COLUMN misled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE host ADD COLUMN room INTEGER AS (100 + 4 * proven - misled - candidates) VIRTUAL;
CREATE INDEX identity_by_host ON identity (host_id);
CREATE INDEX host_crawl_due ON host (crawl_due_at) WHERE crawl_due_at IS NOT NULL;

CREATE TRIGGER repo_removed AFTER DELETE ON repo BEGIN
  UPDATE repo_tally SET repos = repos - 1, active = active - old.active WHERE state = old.state;
  UPDATE host SET candidates = candidates - 1, misled = misled + 1 WHERE id = old.found_at;
END;

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

CREATE VIEW host_crawls AS
  -- Which hosts are walked, and how far (--crawl deep)?
  SELECT hostname, listed_status,
         CASE WHEN crawl_due_at IS NULL THEN 'never' WHEN crawl_paused = 1 THEN 'waits for candidates'
              WHEN crawl_cursor IS NOT NULL THEN 'under way' ELSE 'between walks' END AS walk,
         datetime(nullif(crawl_due_at, 0) / 1000000, 'unixepoch') AS due, crawl_cursor AS cursor, crawl_failures AS failures,
         datetime(crawled_at / 1000000, 'unixepoch') AS crawled, candidates, proven, misled, room
  FROM host;
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
ALTER TABLE identity ADD COLUMN earlier_rev INTEGER;
CREATE TRIGGER identity_rekeyed AFTER UPDATE OF signing_key ON identity
WHEN old.signing_key <> new.signing_key BEGIN
  UPDATE identity SET earlier_rev = (
    SELECT nullif(max(coalesce(r.seen_rev, 0), coalesce(
      (SELECT h.rev FROM repo_head h WHERE h.repo_id = r.id AND h.unchecked = 0), 0)), 0)
    FROM repo r WHERE r.id = new.repo_id)
  WHERE repo_id = new.repo_id;
END;
