-- name: AddCandidate :one
INSERT INTO repo (did, found_at) VALUES (sqlc.arg(did), sqlc.arg(host_id)) RETURNING id;

-- name: ConfirmCandidate :exec
UPDATE repo SET found_at = NULL WHERE id = sqlc.arg(repo_id) AND found_at IS NOT NULL;

-- name: CountMisled :exec
UPDATE host SET misled = misled + 1 WHERE id = (SELECT r.found_at FROM repo r WHERE r.id = sqlc.arg(repo_id));

-- name: DeleteBareRepo :execrows
DELETE FROM repo WHERE id = sqlc.arg(repo_id) AND proven_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM repo_head h WHERE h.repo_id = repo.id)
  AND NOT EXISTS (SELECT 1 FROM identity i WHERE i.repo_id = repo.id)
  AND NOT EXISTS (SELECT 1 FROM membership m WHERE m.repo_id = repo.id);

-- name: SetHarmlessRev :exec
UPDATE repo SET harmless_rev = sqlc.arg(rev) WHERE id = sqlc.arg(repo_id);

-- name: HarmlessRev :one
SELECT harmless_rev FROM repo WHERE id = sqlc.arg(repo_id);

-- name: LastRepo :one
SELECT CAST(coalesce(max(id), 0) AS INTEGER) AS id FROM repo;

-- name: HeldRepos :many
SELECT r.id, r.state, r.active, CAST(max(coalesce(i.checked_at, 0), coalesce(r.proven_at, 0)) AS INTEGER) AS sure_at
FROM repo r CROSS JOIN identity i
WHERE r.id > sqlc.arg(after) AND r.id <= sqlc.arg(until) AND i.repo_id = r.id ORDER BY r.id;

-- name: HeldReposOfHost :many
SELECT r.id, r.state, r.active, CAST(max(coalesce(i.checked_at, 0), coalesce(r.proven_at, 0)) AS INTEGER) AS sure_at
FROM identity i CROSS JOIN repo r
WHERE i.host_id = sqlc.arg(host_id) AND i.repo_id > sqlc.arg(after) AND r.id = i.repo_id
ORDER BY i.repo_id LIMIT sqlc.arg(max_rows);

-- name: WalkedHosts :one
SELECT count(*) FROM host WHERE crawl_due_at >= 0;

-- name: DueHosts :many
SELECT h.id, h.hostname, h.insecure, h.crawl_cursor, h.crawl_failures, q.cooldown_until, CAST(h.room AS INTEGER) AS room
FROM host h CROSS JOIN host_queue q
WHERE h.crawl_due_at <= sqlc.arg(now) AND q.host_id = h.id ORDER BY h.crawl_due_at LIMIT sqlc.arg(max_rows);

-- name: HostRoom :one
SELECT CAST(room AS INTEGER) AS room FROM host WHERE id = sqlc.arg(host_id);

-- name: NextDueHost :one
SELECT CAST(coalesce(min(crawl_due_at), 9223372036854775807) AS INTEGER) AS due FROM host WHERE crawl_due_at >= 0;

-- name: ListHost :exec
INSERT INTO host (hostname, insecure, listed_status, crawl_due_at)
VALUES (sqlc.arg(hostname), sqlc.arg(insecure), sqlc.arg(listed_status), sqlc.arg(due))
ON CONFLICT (hostname) DO UPDATE SET
  listed_status = excluded.listed_status,
  crawl_due_at = CASE
    WHEN excluded.crawl_due_at IS NULL THEN NULL
    WHEN host.crawl_due_at IS NULL AND (host.crawled_at IS NULL OR host.listed_status IN ('offline', 'banned')) THEN excluded.crawl_due_at
    ELSE host.crawl_due_at END;

-- name: HostWalk :one
SELECT id, crawl_due_at, crawled_at FROM host WHERE hostname = sqlc.arg(hostname);

-- name: WantHostWalk :exec
INSERT INTO host (hostname, insecure, crawl_due_at) VALUES (sqlc.arg(hostname), sqlc.arg(insecure), sqlc.arg(now))
ON CONFLICT (hostname) DO UPDATE SET
  listed_status = NULL, crawl_again = 1, crawl_due_at = min(coalesce(host.crawl_due_at, excluded.crawl_due_at), excluded.crawl_due_at);

-- name: StartHostWalk :exec
UPDATE host SET crawl_cursor = NULL, crawl_again = 0 WHERE id = sqlc.arg(host_id);

-- name: SetHostCursor :exec
UPDATE host SET crawl_cursor = sqlc.arg(cursor), crawl_paused = 0 WHERE id = sqlc.arg(host_id);

-- name: DeferHostWalk :exec
UPDATE host SET crawl_due_at = sqlc.arg(until), crawl_failures = crawl_failures + sqlc.arg(failed)
WHERE id = sqlc.arg(host_id) AND crawl_due_at IS NOT NULL;

-- name: PauseHostWalk :exec
UPDATE host SET crawl_paused = 1, crawl_due_at = sqlc.arg(until),
  misled = CASE WHEN candidates = 0 THEN misled / 2 ELSE misled END
WHERE id = sqlc.arg(host_id) AND crawl_due_at IS NOT NULL;

-- name: GiveUpHostWalk :exec
UPDATE host SET crawl_due_at = NULL WHERE id = sqlc.arg(host_id)
  AND crawled_at IS NULL AND crawl_cursor IS NULL AND listed_status IS NULL AND crawl_failures >= sqlc.arg(failures);

-- name: FinishHostWalk :exec
UPDATE host SET crawl_cursor = NULL, crawled_at = sqlc.arg(now), crawl_failures = 0, crawl_paused = 0,
  crawl_due_at = CASE WHEN crawl_due_at IS NULL THEN NULL WHEN crawl_again = 1 THEN sqlc.arg(now) ELSE sqlc.arg(next) END
WHERE id = sqlc.arg(host_id);

-- name: TameHostWalks :exec
UPDATE host SET crawl_due_at = sqlc.arg(now) WHERE crawl_due_at > sqlc.arg(horizon);
