-- name: AddUpstream :one
INSERT INTO upstream (url) VALUES (sqlc.arg(url)) ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING *;

-- name: Upstreams :many
SELECT * FROM upstream ORDER BY id;

-- name: SetUpstreamKind :exec
UPDATE upstream SET kind = sqlc.arg(kind) WHERE id = sqlc.arg(id);

-- name: SetUpstreamCursor :exec
UPDATE upstream SET cursor = sqlc.arg(cursor), last_event_at = sqlc.arg(now) WHERE id = sqlc.arg(id);

-- name: WantCrawl :exec
UPDATE upstream SET crawl_wanted_at = sqlc.arg(now), crawl_again = 1 WHERE id = sqlc.arg(id);

-- name: StartCrawl :exec
UPDATE upstream SET crawl_started_at = sqlc.arg(now), crawl_cursor = NULL, crawl_again = 0 WHERE id = sqlc.arg(id);

-- name: SetCrawlCursor :exec
UPDATE upstream SET crawl_cursor = sqlc.arg(cursor) WHERE id = sqlc.arg(id);

-- name: FinishCrawl :exec
UPDATE upstream SET crawl_cursor = NULL, crawl_finished_at = sqlc.arg(now),
  crawl_wanted_at = CASE WHEN crawl_again = 0 THEN NULL ELSE crawl_wanted_at END
WHERE id = sqlc.arg(id);

-- name: UpstreamByID :one
SELECT * FROM upstream WHERE id = sqlc.arg(id);
