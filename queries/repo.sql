-- Whatever is known of a repo but its collections. RepoByID has the same columns. The row of the queue, which most
-- repos do not have, is read by QueueRow if it waits. What may be NULL and need not is 0 or empty here: a NULL takes
-- the reader two allocations, and every event reads these columns.
-- name: RepoByDID :one
SELECT r.id, r.did, r.state, r.active, r.seq,
       CAST(coalesce(r.status, '') AS TEXT) AS status,
       CAST(coalesce(r.status_from, 0) AS INTEGER) AS status_from, CAST(coalesce(r.status_at, 0) AS INTEGER) AS status_at,
       CAST(coalesce(r.proof, 0) AS INTEGER) AS proof,
       CAST(coalesce(r.proven_at, 0) AS INTEGER) AS proven_at, CAST(coalesce(r.seen_rev, 0) AS INTEGER) AS seen_rev,
       CAST(coalesce(r.found_host_id, 0) AS INTEGER) AS found_host_id, CAST(coalesce(r.harmless_rev, 0) AS INTEGER) AS harmless_rev,
       CAST(coalesce(r.error, '') AS TEXT) AS error, CAST(coalesce(r.error_at, 0) AS INTEGER) AS error_at,
       h.rev, h.data, h.cid,
       i.host_id, i.signing_key, CAST(coalesce(i.fetched_at, 0) AS INTEGER) AS fetched_at, CAST(coalesce(i.stale, 0) AS INTEGER) AS stale,
       CAST(coalesce(i.status_asked_at, 0) AS INTEGER) AS status_asked_at, CAST(coalesce(i.earlier_rev, 0) AS INTEGER) AS earlier_rev,
       CAST(coalesce(o.hostname, '') AS TEXT) AS hostname, CAST(coalesce(o.insecure, 0) AS INTEGER) AS insecure,
       o.describe_trust, o.absent_proofs,
       CAST(EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id) AS INTEGER) AS waits
FROM repo r
LEFT JOIN repo_head h ON h.repo_id = r.id
LEFT JOIN identity i ON i.repo_id = r.id
LEFT JOIN host o ON o.id = i.host_id
WHERE r.did = sqlc.arg(did);

-- name: RepoByID :one
SELECT r.id, r.did, r.state, r.active, r.seq,
       CAST(coalesce(r.status, '') AS TEXT) AS status,
       CAST(coalesce(r.status_from, 0) AS INTEGER) AS status_from, CAST(coalesce(r.status_at, 0) AS INTEGER) AS status_at,
       CAST(coalesce(r.proof, 0) AS INTEGER) AS proof,
       CAST(coalesce(r.proven_at, 0) AS INTEGER) AS proven_at, CAST(coalesce(r.seen_rev, 0) AS INTEGER) AS seen_rev,
       CAST(coalesce(r.found_host_id, 0) AS INTEGER) AS found_host_id, CAST(coalesce(r.harmless_rev, 0) AS INTEGER) AS harmless_rev,
       CAST(coalesce(r.error, '') AS TEXT) AS error, CAST(coalesce(r.error_at, 0) AS INTEGER) AS error_at,
       h.rev, h.data, h.cid,
       i.host_id, i.signing_key, CAST(coalesce(i.fetched_at, 0) AS INTEGER) AS fetched_at, CAST(coalesce(i.stale, 0) AS INTEGER) AS stale,
       CAST(coalesce(i.status_asked_at, 0) AS INTEGER) AS status_asked_at, CAST(coalesce(i.earlier_rev, 0) AS INTEGER) AS earlier_rev,
       CAST(coalesce(o.hostname, '') AS TEXT) AS hostname, CAST(coalesce(o.insecure, 0) AS INTEGER) AS insecure,
       o.describe_trust, o.absent_proofs,
       CAST(EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id) AS INTEGER) AS waits
FROM repo r
LEFT JOIN repo_head h ON h.repo_id = r.id
LEFT JOIN identity i ON i.repo_id = r.id
LEFT JOIN host o ON o.id = i.host_id
WHERE r.id = sqlc.arg(id);

-- name: AddRepo :one
INSERT INTO repo (did, found_host_id) VALUES (sqlc.arg(did), sqlc.arg(found_host_id)) RETURNING id;

-- name: PutRepo :exec
UPDATE repo SET state = sqlc.arg(state), active = sqlc.arg(active), status = sqlc.arg(status),
  status_from = sqlc.arg(status_from), status_at = sqlc.arg(status_at), proof = sqlc.arg(proof),
  proven_at = sqlc.arg(proven_at), seen_rev = sqlc.arg(seen_rev), found_host_id = sqlc.arg(found_host_id),
  harmless_rev = sqlc.arg(harmless_rev), error = sqlc.arg(error), error_at = sqlc.arg(error_at)
WHERE id = sqlc.arg(id);

-- name: SetRepoSeq :exec
UPDATE repo SET seq = sqlc.arg(seq) WHERE id = sqlc.arg(id);

-- That a commit follows was decided before (repostate); this asserts it once more: only from the tree that it starts
-- from, only to a newer rev, and only while the repo is in service. No row is changed otherwise.
-- name: AdvanceHead :execrows
UPDATE repo_head SET rev = sqlc.arg(rev), data = sqlc.arg(data), cid = sqlc.arg(cid)
WHERE repo_id = sqlc.arg(repo_id) AND data = sqlc.arg(prev) AND rev < sqlc.arg(rev)
  AND EXISTS (SELECT 1 FROM repo r WHERE r.id = repo_head.repo_id AND r.state = 3 AND r.active = 1);

-- name: PutHead :exec
INSERT INTO repo_head (repo_id, rev, data, cid)
VALUES (sqlc.arg(repo_id), sqlc.arg(rev), sqlc.arg(data), sqlc.arg(cid))
ON CONFLICT (repo_id) DO UPDATE SET rev = excluded.rev, data = excluded.data, cid = excluded.cid;

-- name: DeleteHead :exec
DELETE FROM repo_head WHERE repo_id = sqlc.arg(repo_id);

-- name: LastRepoID :one
SELECT CAST(coalesce(max(id), 0) AS INTEGER) AS id FROM repo;

-- Of some ids those that are in service and not waiting for anything.
-- name: IdleAmong :many
SELECT r.id FROM json_each(CAST(sqlc.arg(ids) AS TEXT)) j CROSS JOIN repo r
WHERE r.id = j.value AND r.state = 3 AND r.active = 1 AND r.seq > 0
  AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id);

-- Where a piece of the repos ends that has so many of them.
-- name: RepoPiece :one
SELECT CAST(coalesce(max(p.id), 0) AS INTEGER) AS upto
FROM (SELECT r.id FROM repo r WHERE r.id > sqlc.arg(after) ORDER BY r.id LIMIT sqlc.arg(max_rows)) p;

-- name: IdleBetween :many
SELECT r.id FROM repo r
WHERE r.id > sqlc.arg(after) AND r.id <= sqlc.arg(upto) AND r.state = 3 AND r.active = 1 AND r.seq > 0
  AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id)
ORDER BY r.id;
