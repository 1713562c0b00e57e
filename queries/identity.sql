-- CROSS JOIN: the repo by its DID first.
-- name: SigningKey :one
SELECT i.signing_key FROM repo r CROSS JOIN identity i
WHERE r.did = sqlc.arg(did) AND i.repo_id = r.id;

-- name: PutIdentity :exec
INSERT INTO identity (repo_id, signing_key, host_id, fetched_at, stale, status_asked_at, earlier_rev)
VALUES (sqlc.arg(repo_id), sqlc.arg(signing_key), sqlc.arg(host_id), sqlc.arg(fetched_at), sqlc.arg(stale),
        sqlc.arg(status_asked_at), sqlc.arg(earlier_rev))
ON CONFLICT (repo_id) DO UPDATE SET signing_key = excluded.signing_key, host_id = excluded.host_id,
  fetched_at = excluded.fetched_at, stale = excluded.stale, status_asked_at = excluded.status_asked_at, earlier_rev = excluded.earlier_rev;

-- name: AddHost :one
INSERT INTO host (hostname, insecure) VALUES (sqlc.arg(hostname), sqlc.arg(insecure))
ON CONFLICT (hostname) DO UPDATE SET insecure = excluded.insecure RETURNING id, describe_trust, absent_proofs;

-- name: HostID :one
-- The update changes nothing: without it RETURNING is silent about a row that is there.
INSERT INTO host (hostname, insecure) VALUES (sqlc.arg(hostname), sqlc.arg(insecure))
ON CONFLICT (hostname) DO UPDATE SET hostname = excluded.hostname RETURNING id;

-- name: DistrustDescribe :exec
UPDATE host SET describe_trust = 0, unable_at = sqlc.arg(now) WHERE id = sqlc.arg(id) AND describe_trust IS NOT 0;

-- name: SetAbsentProofs :exec
UPDATE host SET absent_proofs = sqlc.arg(proves), unable_at = CASE WHEN sqlc.arg(proves) = 0 THEN sqlc.arg(now) ELSE unable_at END
WHERE id = sqlc.arg(id);

-- name: ForgetInabilities :exec
-- Hosts get another program now and then: what one could not do is tried once more.
UPDATE host SET absent_proofs = nullif(absent_proofs, 0), describe_trust = NULL, unable_at = NULL WHERE unable_at < sqlc.arg(before);

-- Where a piece of the identities ends that has so many of them.
-- name: IdentityPiece :one
SELECT CAST(coalesce(max(p.repo_id), 0) AS INTEGER) AS upto
FROM (SELECT i.repo_id FROM identity i WHERE i.repo_id > sqlc.arg(after) ORDER BY i.repo_id LIMIT sqlc.arg(max_rows)) p;

-- Documents of a piece that were last looked up long ago, of repos that wait for nothing else.
-- name: AgedIdentities :many
SELECT i.repo_id FROM identity i CROSS JOIN repo r
WHERE i.repo_id > sqlc.arg(after) AND i.repo_id <= sqlc.arg(upto) AND i.fetched_at < sqlc.arg(before) AND i.stale = 0
  AND r.id = i.repo_id AND r.state = 3 AND r.active = 1
  AND (CAST(sqlc.arg(only_web) AS INTEGER) = 0 OR substr(r.did, 1, 8) <> 'did:plc:')
  AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = i.repo_id)
ORDER BY i.repo_id LIMIT sqlc.arg(max_rows);

-- Other repos of a host that are in service, the newest of them, among the last so many of its accounts.
-- name: Neighbours :many
SELECT r.did
FROM (SELECT i.repo_id FROM identity i WHERE i.host_id = sqlc.arg(host_id) AND i.repo_id <> sqlc.arg(repo_id)
      ORDER BY i.repo_id DESC LIMIT sqlc.arg(among)) d
CROSS JOIN repo r
WHERE r.id = d.repo_id AND r.state = 3 AND r.active = 1
ORDER BY r.id DESC LIMIT sqlc.arg(max_rows);
