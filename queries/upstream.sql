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

-- name: Sights :one
-- How many DIDs has nobody told of but the events of an upstream? They are counted up to a bound.
SELECT count(*) FROM (SELECT 1 FROM repo r WHERE r.found_host_id = -CAST(sqlc.arg(upstream) AS INTEGER) LIMIT sqlc.arg(most));
