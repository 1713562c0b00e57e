-- name: RefusalCounts :many
SELECT reason, count, last_at FROM refusal ORDER BY count DESC, reason;

-- name: FailingHosts :many
SELECT hostname, status, failures, answers, cooldown_until, error, error_at FROM host
WHERE failures > 0 OR status IS NOT NULL OR cooldown_until > sqlc.arg(now)
ORDER BY failures DESC, error_at DESC LIMIT sqlc.arg(max_rows);
