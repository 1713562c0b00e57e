-- A repo waits once. Who comes later only adds: the better priority with its reason, the earlier time, the newest rev,
-- the questions. max and min of NULL are NULL, so each side of want_rev has its turn.
-- name: Enqueue :exec
INSERT INTO resync_queue (repo_id, reason, priority, background, not_before, want_rev, ask_status, looks, queued_at, generation)
VALUES (sqlc.arg(repo_id), sqlc.arg(reason), sqlc.arg(priority), sqlc.arg(background), sqlc.arg(not_before),
        sqlc.arg(want_rev), sqlc.arg(ask_status), sqlc.arg(looks), sqlc.arg(now), sqlc.arg(voids))
ON CONFLICT (repo_id) DO UPDATE SET
  reason = CASE WHEN excluded.priority < resync_queue.priority THEN excluded.reason ELSE resync_queue.reason END,
  priority = min(resync_queue.priority, excluded.priority),
  background = min(resync_queue.background, excluded.background),
  not_before = min(resync_queue.not_before, excluded.not_before),
  want_rev = coalesce(max(resync_queue.want_rev, excluded.want_rev), resync_queue.want_rev, excluded.want_rev),
  ask_status = max(resync_queue.ask_status, excluded.ask_status),
  looks = max(resync_queue.looks, excluded.looks),
  generation = resync_queue.generation + excluded.generation;

-- name: QueueRow :one
SELECT * FROM resync_queue WHERE repo_id = sqlc.arg(repo_id);

-- The worker remembers the generation that it took: whatever raises it meanwhile makes the result void.
-- name: Claim :exec
UPDATE resync_queue SET claim = generation WHERE repo_id = sqlc.arg(repo_id);

-- name: DeferRow :exec
UPDATE resync_queue SET claim = NULL, not_before = sqlc.arg(not_before) WHERE repo_id = sqlc.arg(repo_id);

-- name: RetryRow :exec
UPDATE resync_queue SET claim = NULL, not_before = sqlc.arg(not_before), attempts = attempts + sqlc.arg(failed),
  priority = sqlc.arg(priority), reason = sqlc.arg(reason), background = sqlc.arg(background)
WHERE repo_id = sqlc.arg(repo_id);

-- name: SetMissing :exec
UPDATE resync_queue SET missing_since = sqlc.arg(since) WHERE repo_id = sqlc.arg(repo_id);

-- name: SetUnresolved :exec
UPDATE resync_queue SET unresolved_since = sqlc.arg(since) WHERE repo_id = sqlc.arg(repo_id);

-- name: StartAnew :exec
UPDATE resync_queue SET attempts = 0, missing_since = NULL, stale_rev = NULL, stale_count = 0, stale_since = NULL
WHERE repo_id = sqlc.arg(repo_id);

-- name: SetAsked :exec
UPDATE resync_queue SET ask_status = 0 WHERE repo_id = sqlc.arg(repo_id);

-- name: SetLooks :exec
UPDATE resync_queue SET looks = sqlc.arg(looks) WHERE repo_id = sqlc.arg(repo_id);

-- name: Wish :exec
UPDATE resync_queue SET want_rev = max(coalesce(want_rev, 0), CAST(sqlc.arg(rev) AS INTEGER)) WHERE repo_id = sqlc.arg(repo_id);

-- name: DropWish :exec
UPDATE resync_queue SET want_rev = NULL WHERE repo_id = sqlc.arg(repo_id) AND want_rev <= sqlc.arg(rev);

-- name: CountAttempt :exec
UPDATE resync_queue SET attempts = attempts + 1 WHERE repo_id = sqlc.arg(repo_id);

-- name: StaleAnswer :exec
UPDATE resync_queue SET stale_rev = sqlc.arg(rev), stale_count = sqlc.arg(count), stale_since = sqlc.arg(since)
WHERE repo_id = sqlc.arg(repo_id);

-- name: DeleteQueueRow :exec
DELETE FROM resync_queue WHERE repo_id = sqlc.arg(repo_id);

-- name: ClaimedRows :many
SELECT repo_id FROM resync_queue WHERE claim IS NOT NULL LIMIT sqlc.arg(max_rows);

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
SELECT CAST(coalesce(min(not_before), 9223372036854775807) AS INTEGER) AS not_before
FROM resync_queue WHERE claim IS NULL AND host_id = sqlc.arg(host) AND priority = sqlc.arg(priority);
