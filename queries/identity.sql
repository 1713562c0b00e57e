-- name: SigningKey :one
SELECT i.signing_key FROM repo r CROSS JOIN identity i
WHERE r.did = sqlc.arg(did) AND i.repo_id = r.id;

-- name: PutIdentity :exec
INSERT INTO identity (repo_id, signing_key, host_id, fetched_at, stale)
VALUES (sqlc.arg(repo_id), sqlc.arg(signing_key), sqlc.arg(host_id), sqlc.arg(now), 0)
ON CONFLICT (repo_id) DO UPDATE SET signing_key = excluded.signing_key, host_id = excluded.host_id,
                                    fetched_at = excluded.fetched_at;

-- name: SetIdentityStale :exec
UPDATE identity SET stale = sqlc.arg(stale) WHERE repo_id = sqlc.arg(repo_id);

-- name: SetStatusChecked :exec
UPDATE identity SET checked_at = sqlc.arg(now) WHERE repo_id = sqlc.arg(repo_id);

-- name: AddHost :one
INSERT INTO host (hostname, insecure) VALUES (sqlc.arg(hostname), sqlc.arg(insecure))
ON CONFLICT (hostname) DO UPDATE SET insecure = excluded.insecure RETURNING id, describe_trust, absent_proofs;


-- name: DistrustDescribe :exec
UPDATE host SET describe_trust = 0 WHERE id = sqlc.arg(id);
