-- name: LastRepoID :one
SELECT CAST(coalesce(max(id), 0) AS INTEGER) AS id FROM repo;

-- name: RestingAmong :many
SELECT r.id FROM json_each(CAST(sqlc.arg(ids) AS TEXT)) j CROSS JOIN repo r
WHERE r.id = j.value AND r.state = 3 AND r.active = 1 AND r.seq > 0
  AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id);

-- name: RepoPiece :one
SELECT CAST(coalesce(max(p.id), 0) AS INTEGER) AS upto
FROM (SELECT r.id FROM repo r WHERE r.id > sqlc.arg(after) ORDER BY r.id LIMIT sqlc.arg(max_rows)) p;

-- name: RestingBetween :many
SELECT r.id FROM repo r
WHERE r.id > sqlc.arg(after) AND r.id <= sqlc.arg(upto) AND r.state = 3 AND r.active = 1 AND r.seq > 0
  AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id)
ORDER BY r.id;
