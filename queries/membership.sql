-- name: CollectionID :one
SELECT id FROM collection WHERE nsid = sqlc.arg(nsid);

-- name: AddCollection :one
INSERT INTO collection (nsid) VALUES (sqlc.arg(nsid)) RETURNING id;

-- name: AddMembers :exec
UPDATE collection SET members = members + sqlc.arg(delta), changed_at = max(changed_at, sqlc.arg(now)) WHERE id = sqlc.arg(id);

-- A row that is there stays as it is.
-- name: Birth :execrows
INSERT INTO membership (collection_id, seq, repo_id, source)
VALUES (sqlc.arg(collection_id), sqlc.arg(seq), sqlc.arg(repo_id), sqlc.arg(source))
ON CONFLICT (repo_id, collection_id) DO NOTHING;

-- name: Death :many
DELETE FROM membership WHERE repo_id = sqlc.arg(repo_id) AND collection_id = sqlc.arg(collection_id)
RETURNING seq;

-- What is not in the set any more.
-- name: DeathsOf :many
DELETE FROM membership
WHERE repo_id = sqlc.arg(repo_id)
  AND collection_id NOT IN (SELECT CAST(value AS INTEGER) FROM json_each(CAST(sqlc.arg(collection_ids) AS TEXT)))
RETURNING collection_id, seq;

-- The missing rows of a set, numbered from first_seq on in its order; the numbers of those that are there are left out.
-- name: BirthsOf :many
INSERT INTO membership (collection_id, seq, repo_id, source)
SELECT CAST(value AS INTEGER), CAST(sqlc.arg(first_seq) AS INTEGER) + CAST(key AS INTEGER), sqlc.arg(repo_id), sqlc.arg(source)
FROM json_each(CAST(sqlc.arg(collection_ids) AS TEXT)) WHERE true
ON CONFLICT (repo_id, collection_id) DO NOTHING
RETURNING collection_id;

-- The sign of the number is the visibility.
-- name: Hide :many
UPDATE membership SET seq = -seq WHERE repo_id = sqlc.arg(repo_id) AND seq > 0 RETURNING collection_id;

-- name: Hidden :many
SELECT collection_id, seq FROM membership WHERE repo_id = sqlc.arg(repo_id) AND seq < 0 ORDER BY collection_id;

-- name: Show :exec
UPDATE membership SET seq = sqlc.arg(seq)
WHERE collection_id = sqlc.arg(collection_id) AND seq = sqlc.arg(hidden_seq);

-- name: AddChange :exec
INSERT INTO membership_change (changed_at, repo_id, collection_id, visible, cause)
VALUES (sqlc.arg(now), sqlc.arg(repo_id), sqlc.arg(collection_id), sqlc.arg(visible), sqlc.arg(cause));

-- The subquery bounds the rows, for DELETE has no LIMIT here.
-- name: PruneChanges :execrows
DELETE FROM membership_change WHERE id IN (
  SELECT c.id FROM membership_change c WHERE c.changed_at < sqlc.arg(before) ORDER BY c.changed_at LIMIT sqlc.arg(max_rows));

-- Collections that nobody has had for long, not even hidden, and that no change names any more.
-- name: PruneCollections :many
DELETE FROM collection WHERE NOT EXISTS (SELECT 1 FROM membership m WHERE m.collection_id = collection.id) AND id IN (
  SELECT c.id FROM collection c
  WHERE c.members = 0 AND c.changed_at < sqlc.arg(before)
    AND c.changed_at < coalesce((SELECT min(f.changed_at) FROM membership_change f), sqlc.arg(before))
  ORDER BY c.changed_at LIMIT sqlc.arg(max_rows))
RETURNING id, nsid;

-- Those of them that hidden repos have are looked at again in a week.
-- name: PutOffCollections :execrows
UPDATE collection SET changed_at = sqlc.arg(now)
WHERE EXISTS (SELECT 1 FROM membership m WHERE m.collection_id = collection.id) AND id IN (
  SELECT c.id FROM collection c WHERE c.members = 0 AND c.changed_at < sqlc.arg(before)
  ORDER BY c.changed_at LIMIT sqlc.arg(max_rows));

-- Some rows of a repo, in the order of their ids.
-- name: SomeMemberships :many
SELECT collection_id FROM membership
WHERE repo_id = sqlc.arg(repo_id) AND collection_id >= sqlc.arg(at_least) ORDER BY collection_id LIMIT sqlc.arg(max_rows);

-- name: LastMembership :one
SELECT CAST(coalesce(max(collection_id), 0) AS INTEGER) AS id FROM membership WHERE repo_id = sqlc.arg(repo_id);

-- How many rows a repo has, counted no further than so many.
-- name: SetSize :one
SELECT count(*) FROM (SELECT 1 FROM membership WHERE repo_id = sqlc.arg(repo_id) LIMIT sqlc.arg(max_rows)) d;

-- One of some collections in which a repo has no row.
-- name: LackingMembership :one
SELECT CAST(j.value AS INTEGER) AS id FROM json_each(CAST(sqlc.arg(collection_ids) AS TEXT)) j
WHERE NOT EXISTS (SELECT 1 FROM membership m WHERE m.repo_id = sqlc.arg(repo_id) AND m.collection_id = CAST(j.value AS INTEGER))
LIMIT 1;

-- name: CollectionName :one
SELECT nsid FROM collection WHERE id = sqlc.arg(id);
