-- name: IdentityPiece :one
SELECT CAST(coalesce(max(p.repo_id), 0) AS INTEGER) AS upto
FROM (SELECT i.repo_id FROM identity i WHERE i.repo_id > sqlc.arg(after) ORDER BY i.repo_id LIMIT sqlc.arg(max_rows)) p;

-- name: AgedIdentities :many
SELECT i.repo_id FROM identity i CROSS JOIN repo r
WHERE i.repo_id > sqlc.arg(after) AND i.repo_id <= sqlc.arg(upto) AND i.fetched_at < sqlc.arg(before) AND i.stale = 0
  AND r.id = i.repo_id AND r.state = 3 AND r.active = 1
  AND (CAST(sqlc.arg(only_web) AS INTEGER) = 0 OR substr(r.did, 1, 8) <> 'did:plc:')
  AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = i.repo_id)
ORDER BY i.repo_id LIMIT sqlc.arg(max_rows);

-- name: FirstDue :one
SELECT CAST(coalesce(min(not_before), 9223372036854775807) AS INTEGER) AS not_before
FROM resync_queue WHERE claim IS NULL AND host_id = sqlc.arg(host) AND priority = sqlc.arg(priority);
