-- name: AddUpstream :one
-- The update changes nothing: without it RETURNING is silent about a row that is there.
INSERT INTO upstream (url) VALUES (sqlc.arg(url)) ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING *;

-- name: Upstreams :many
SELECT * FROM upstream ORDER BY id;

-- name: SetUpstreamKind :exec
UPDATE upstream SET kind = sqlc.arg(kind), name = sqlc.arg(name) WHERE id = sqlc.arg(id);

-- name: SetUpstreamCursor :exec
UPDATE upstream SET cursor = sqlc.arg(cursor), last_event_at = sqlc.arg(now),
                    lag = coalesce(sqlc.arg(lag), lag)
WHERE id = sqlc.arg(id);

-- name: UpstreamByID :one
SELECT * FROM upstream WHERE id = sqlc.arg(id);
