-- name: SetAbsentProofs :exec
UPDATE host SET absent_proofs = sqlc.arg(proves) WHERE id = sqlc.arg(id);

-- name: SetEarlierRev :exec
UPDATE identity SET earlier_rev = sqlc.arg(rev) WHERE repo_id = sqlc.arg(repo_id);
