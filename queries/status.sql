-- The triggers of schema.sql keep these counts.
-- name: RepoTally :many
SELECT state, repos, active FROM repo_tally;

-- name: QueueTally :many
SELECT priority, waiting FROM queue_tally;

-- name: MembershipTally :one
SELECT memberships, collections FROM collection_tally WHERE one = 1;

-- name: RefusalCounts :many
SELECT reason, count, last_at FROM refusal ORDER BY count DESC, reason;

-- name: FailingHosts :many
SELECT h.hostname, h.status, q.failures, q.answers, q.cooldown_until, h.error, h.error_at
FROM host h JOIN host_queue q ON q.host_id = h.id
WHERE q.failures > 0 OR h.status IS NOT NULL OR q.cooldown_until > sqlc.arg(now)
ORDER BY q.failures DESC, h.error_at DESC LIMIT sqlc.arg(max_rows);
