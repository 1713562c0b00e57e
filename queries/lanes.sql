-- name: LaneRows :many
SELECT q.repo_id, q.reason, q.attempts, q.generation, q.want_rev, q.ask_status, q.missing_since, q.unresolved_since,
       q.looks, q.not_before
FROM resync_queue q
WHERE q.claim IS NULL AND q.lane = sqlc.arg(lane) AND q.priority = sqlc.arg(priority)
ORDER BY q.not_before LIMIT sqlc.arg(max_rows);

-- name: NextLaneHead :one
SELECT q.lane, q.priority, q.not_before, h.cooldown_until, h.failures, h.answers, h.rate
FROM resync_queue q LEFT JOIN host h ON h.id = q.lane
WHERE q.claim IS NULL AND (q.lane, q.priority) >= (sqlc.arg(lane), sqlc.arg(priority))
ORDER BY q.lane, q.priority, q.not_before LIMIT 1;

-- name: TouchedHeads :many
SELECT q.lane, q.priority, CAST(min(q.not_before) AS INTEGER) AS not_before, h.cooldown_until, h.failures, h.answers, h.rate
FROM json_each(CAST(sqlc.arg(ids) AS TEXT)) d CROSS JOIN resync_queue q LEFT JOIN host h ON h.id = q.lane
WHERE q.repo_id = d.value AND q.claim IS NULL
GROUP BY q.lane, q.priority;

-- name: TouchedHosts :many
SELECT h.id, h.cooldown_until, h.failures, h.answers, h.rate
FROM json_each(CAST(sqlc.arg(ids) AS TEXT)) d CROSS JOIN host h
WHERE h.id = d.value;

-- name: SetHostRate :exec
UPDATE host SET rate = sqlc.arg(rate) WHERE id = sqlc.arg(id);
