-- name: Invariants :many
SELECT name, explanation FROM invariant ORDER BY id;

-- The rows that break an invariant: the first few, and how many there are. The view has a SELECT for each of them;
-- SQLite compares their constant names first and so reads no table for the others.
-- name: Violations :many
SELECT CAST(what AS TEXT) AS what, count(*) OVER () AS total FROM violation
WHERE invariant = CAST(sqlc.arg(invariant) AS TEXT) LIMIT sqlc.arg(max_rows);

-- The names are read in pieces, so that none of them holds the write-ahead log for long.

-- name: CheckDIDs :many
SELECT id, did FROM repo WHERE id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: CheckNSIDs :many
SELECT id, nsid FROM collection WHERE id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: CheckHosts :many
SELECT id, hostname, insecure FROM host WHERE id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);
