-- name: QueueRow :one
SELECT reason, priority, not_before, parked, attempts, generation, lease, want_rev, ask_status, identity_checks, queued_at,
       said, said_rev, said_times, said_since
FROM resync_queue WHERE repo_id = sqlc.arg(repo_id);

-- name: PutQueueRow :exec
-- The whole row, as it was decided; due_at is derived, and triggers keep the head of its host's queue. host_id comes
-- from Go, which knows the identity already.
INSERT INTO resync_queue (repo_id, reason, priority, not_before, parked, attempts, generation, lease, want_rev, ask_status,
  identity_checks, queued_at, said, said_rev, said_times, said_since, host_id)
VALUES (sqlc.arg(repo_id), sqlc.arg(reason), sqlc.arg(priority), sqlc.arg(not_before), sqlc.arg(parked), sqlc.arg(attempts),
  sqlc.arg(generation), sqlc.arg(lease), sqlc.arg(want_rev), sqlc.arg(ask_status), sqlc.arg(identity_checks), sqlc.arg(queued_at),
  sqlc.arg(said), sqlc.arg(said_rev), sqlc.arg(said_times), sqlc.arg(said_since), sqlc.arg(host_id))
ON CONFLICT (repo_id) DO UPDATE SET reason = excluded.reason, priority = excluded.priority, not_before = excluded.not_before,
  parked = excluded.parked, attempts = excluded.attempts, generation = excluded.generation, lease = excluded.lease,
  want_rev = excluded.want_rev, ask_status = excluded.ask_status, identity_checks = excluded.identity_checks, queued_at = excluded.queued_at,
  said = excluded.said, said_rev = excluded.said_rev, said_times = excluded.said_times, said_since = excluded.said_since,
  host_id = excluded.host_id;

-- name: DeleteQueueRow :exec
DELETE FROM resync_queue WHERE repo_id = sqlc.arg(repo_id);

-- name: LeasedRows :many
SELECT repo_id FROM resync_queue WHERE lease IS NOT NULL LIMIT sqlc.arg(max_rows);

-- name: BufferCommit :exec
INSERT INTO resync_buffer (repo_id, rev, prev, data, cid, present, died)
VALUES (sqlc.arg(repo_id), sqlc.arg(rev), sqlc.arg(prev), sqlc.arg(data), sqlc.arg(cid), sqlc.arg(present), sqlc.arg(died));

-- name: BufferedCommit :one
SELECT cid FROM resync_buffer WHERE repo_id = sqlc.arg(repo_id) AND rev = sqlc.arg(rev);

-- name: BufferSize :one
SELECT count(*) FROM resync_buffer WHERE repo_id = sqlc.arg(repo_id);

-- name: BufferedCommits :many
SELECT rev, prev, data, cid, present, died FROM resync_buffer WHERE repo_id = sqlc.arg(repo_id) ORDER BY rev;

-- name: ClearBuffer :exec
DELETE FROM resync_buffer WHERE repo_id = sqlc.arg(repo_id);

-- name: FirstDue :one
SELECT CAST(coalesce(min(due_at), 9223372036854775807) AS INTEGER) AS due_at
FROM resync_queue WHERE due_at IS NOT NULL AND host_id = sqlc.arg(host) AND priority = sqlc.arg(priority);
