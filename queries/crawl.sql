-- name: Crawl :one
SELECT * FROM crawl WHERE kind = sqlc.arg(kind) AND server_id = sqlc.arg(server_id);

-- name: DueCrawls :many
SELECT * FROM crawl WHERE kind = sqlc.arg(kind) AND due_at <= sqlc.arg(now) ORDER BY due_at LIMIT sqlc.arg(max_rows);

-- name: NextCrawl :one
SELECT CAST(coalesce(min(due_at), 9223372036854775807) AS INTEGER) AS due_at
FROM crawl WHERE kind = sqlc.arg(kind) AND due_at > sqlc.arg(now);

-- name: CountCrawls :one
SELECT count(*) FROM crawl WHERE kind = sqlc.arg(kind);

-- name: AddCrawl :exec
INSERT INTO crawl (kind, server_id, due_at) VALUES (sqlc.arg(kind), sqlc.arg(server_id), 0)
ON CONFLICT (kind, server_id) DO NOTHING;

-- name: WantCrawl :exec
INSERT INTO crawl (kind, server_id, due_at, again) VALUES (sqlc.arg(kind), sqlc.arg(server_id), 0, 1)
ON CONFLICT (kind, server_id) DO UPDATE SET again = 1, due_at = 0;

-- name: StartCrawl :exec
UPDATE crawl SET cursor = NULL, again = 0, started_at = sqlc.arg(now)
WHERE kind = sqlc.arg(kind) AND server_id = sqlc.arg(server_id);

-- name: AdvanceCrawl :exec
UPDATE crawl SET cursor = sqlc.arg(cursor), failures = sqlc.arg(failures)
WHERE kind = sqlc.arg(kind) AND server_id = sqlc.arg(server_id);

-- name: DeferCrawl :exec
UPDATE crawl SET due_at = sqlc.arg(until), failures = failures + sqlc.arg(failed)
WHERE kind = sqlc.arg(kind) AND server_id = sqlc.arg(server_id);

-- name: RewindCrawl :exec
UPDATE crawl SET cursor = NULL WHERE kind = sqlc.arg(kind) AND server_id = sqlc.arg(server_id);

-- name: FinishCrawl :exec
UPDATE crawl SET cursor = NULL, started_at = NULL, finished_at = sqlc.arg(now), failures = 0,
  due_at = CASE WHEN again = 1 THEN 0 ELSE sqlc.arg(next) END
WHERE kind = sqlc.arg(kind) AND server_id = sqlc.arg(server_id);

-- name: DeleteCrawl :exec
DELETE FROM crawl WHERE kind = sqlc.arg(kind) AND server_id = sqlc.arg(server_id);

-- name: GiveUpCrawl :exec
DELETE FROM crawl
WHERE kind = 'host' AND server_id = sqlc.arg(host_id) AND finished_at IS NULL AND cursor IS NULL
  AND crawl.failures >= sqlc.arg(failures)
  AND (SELECT h.listed_status FROM host h WHERE h.id = crawl.server_id) IS NULL;

-- name: PlanCrawls :exec
-- At the start of the crawler. Idle crawls come a while after the last one ended, also if the clock was ahead then.
UPDATE crawl SET due_at = min(finished_at, CAST(sqlc.arg(now) AS INTEGER)) + CAST(sqlc.arg(every) AS INTEGER)
                          + abs(random()) % CAST(sqlc.arg(spread) AS INTEGER)
WHERE started_at IS NULL AND again = 0 AND finished_at IS NOT NULL;

-- name: UnplanCrawls :exec
UPDATE crawl SET due_at = NULL WHERE started_at IS NULL AND again = 0 AND finished_at IS NOT NULL;

-- name: ClampCrawls :exec
UPDATE crawl SET due_at = 0 WHERE kind IN ('upstream', 'host') AND due_at > sqlc.arg(horizon);

-- name: HostToCrawl :one
SELECT h.hostname, h.insecure, q.cooldown_until FROM host h CROSS JOIN host_queue q
WHERE h.id = sqlc.arg(host_id) AND q.host_id = h.id;

-- name: HostCrawl :one
SELECT h.id, c.finished_at FROM host h LEFT JOIN crawl c ON c.kind = 'host' AND c.server_id = h.id
WHERE h.hostname = sqlc.arg(hostname);

-- name: SetListedStatus :one
INSERT INTO host (hostname, insecure, listed_status)
VALUES (sqlc.arg(hostname), sqlc.arg(insecure), sqlc.arg(listed_status))
ON CONFLICT (hostname) DO UPDATE SET listed_status = excluded.listed_status RETURNING id;

-- name: CandidateBudget :one
-- How many candidates more may a host have? A few, and as many as documents name it, up to a bound.
SELECT CAST(sqlc.arg(unproven)
            + coalesce(min((SELECT h.accounts FROM host h WHERE h.id = sqlc.arg(host_id)), CAST(sqlc.arg(most) AS INTEGER)), 0)
            - (SELECT count(*) FROM repo r WHERE r.found_host_id = sqlc.arg(host_id)) AS INTEGER) AS budget;

-- name: DeleteBareRepo :execrows
DELETE FROM repo WHERE id = sqlc.arg(repo_id) AND proven_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM repo_head h WHERE h.repo_id = repo.id)
  AND NOT EXISTS (SELECT 1 FROM identity i WHERE i.repo_id = repo.id)
  AND NOT EXISTS (SELECT 1 FROM membership m WHERE m.repo_id = repo.id);

-- name: LastRepo :one
SELECT CAST(coalesce(max(id), 0) AS INTEGER) AS id FROM repo;

-- name: ReposInService :many
SELECT r.id, r.state, r.active, CAST(max(coalesce(i.status_asked_at, 0), coalesce(r.proven_at, 0)) AS INTEGER) AS sure_at
FROM repo r CROSS JOIN identity i
WHERE r.id > sqlc.arg(after) AND r.id <= sqlc.arg(until) AND i.repo_id = r.id ORDER BY r.id;

-- name: ReposInServiceOfHost :many
SELECT r.id, r.state, r.active, CAST(max(coalesce(i.status_asked_at, 0), coalesce(r.proven_at, 0)) AS INTEGER) AS sure_at
FROM identity i CROSS JOIN repo r
WHERE i.host_id = sqlc.arg(host_id) AND i.repo_id > sqlc.arg(after) AND r.id = i.repo_id
ORDER BY i.repo_id LIMIT sqlc.arg(max_rows);
