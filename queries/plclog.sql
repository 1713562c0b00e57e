-- name: PLCLog :one
SELECT url, CAST(coalesce(form, '') AS TEXT) AS form, after, seen, done FROM plc_log WHERE one = 1;

-- name: PutPLCLog :exec
INSERT INTO plc_log (one, url, form, after, seen, done)
VALUES (1, sqlc.arg(url), nullif(CAST(sqlc.arg(form) AS TEXT), ''), sqlc.arg(after), sqlc.arg(seen), sqlc.arg(done))
ON CONFLICT (one) DO UPDATE SET url = excluded.url, form = excluded.form, after = excluded.after, seen = excluded.seen, done = excluded.done;

-- name: DeletePLCLog :exec
DELETE FROM plc_log WHERE one = 1;

-- name: KnownDID :one
SELECT id FROM repo WHERE did = sqlc.arg(did);

-- Where a piece of the queue ends that has so many rows. The updates below go piece by piece, so that none of them keeps
-- the writer for long.
-- name: QueuePiece :one
SELECT CAST(coalesce(max(p.repo_id), 0) AS INTEGER) AS upto
FROM (SELECT q.repo_id FROM resync_queue q WHERE q.repo_id > sqlc.arg(after) ORDER BY q.repo_id LIMIT sqlc.arg(max_rows)) p;

-- name: ParkRows :exec
UPDATE resync_queue SET parked = 1
WHERE resync_queue.repo_id > sqlc.arg(after) AND resync_queue.repo_id <= sqlc.arg(upto) AND priority = sqlc.arg(priority) AND lease IS NULL
  AND NOT EXISTS (SELECT 1 FROM identity i WHERE i.repo_id = resync_queue.repo_id)
  AND EXISTS (SELECT 1 FROM repo r WHERE r.id = resync_queue.repo_id AND substr(r.did, 1, 8) = 'did:plc:');

-- name: TrustParkedIdentities :exec
UPDATE identity SET stale = 0
WHERE identity.repo_id > sqlc.arg(after) AND identity.repo_id <= sqlc.arg(upto) AND stale = 1
  AND EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = identity.repo_id AND q.parked = 1);

-- Who is asked next may be another one now that the identities are trusted.
-- name: ReleaseRows :exec
UPDATE resync_queue SET parked = 0, not_before = sqlc.arg(now),
  host_id = (SELECT h.host_id FROM repo_host_queue h WHERE h.repo_id = resync_queue.repo_id)
WHERE resync_queue.repo_id > sqlc.arg(after) AND resync_queue.repo_id <= sqlc.arg(upto) AND parked = 1;
