-- name: RefusalSample :one
SELECT sample FROM refusal WHERE reason = sqlc.arg(reason);

-- name: AddRefusals :exec
INSERT INTO refusal (reason, count, last_at, sample)
VALUES (sqlc.arg(reason), sqlc.arg(n), sqlc.arg(now), sqlc.arg(sample))
ON CONFLICT (reason) DO UPDATE SET count = refusal.count + excluded.count, last_at = excluded.last_at,
                                   sample = excluded.sample;
