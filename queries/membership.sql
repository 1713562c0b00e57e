-- name: CollectionID :one
SELECT id FROM collection WHERE nsid = sqlc.arg(nsid);

-- name: AddCollection :one
INSERT INTO collection (nsid, first_seen_at) VALUES (sqlc.arg(nsid), sqlc.arg(now)) RETURNING id;

-- Digests have 62 bits: the sum of two does not overflow.
-- name: AddMembers :exec
UPDATE collection
SET members = members + sqlc.arg(delta), digest = (digest + sqlc.arg(digest)) & 4611686018427387903, changed_seq = sqlc.arg(seq)
WHERE id = sqlc.arg(id);

-- name: AddToHour :exec
INSERT INTO collection_hour (collection_id, hour, births, deaths)
VALUES (sqlc.arg(collection_id), sqlc.arg(hour), sqlc.arg(births), sqlc.arg(deaths))
ON CONFLICT (collection_id, hour) DO UPDATE SET births = births + excluded.births, deaths = deaths + excluded.deaths;

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
RETURNING collection_id, seq;

-- The sign of the number is the visibility. What comes back are the negative numbers.
-- name: Hide :many
UPDATE membership SET seq = -seq WHERE repo_id = sqlc.arg(repo_id) AND seq > 0 RETURNING collection_id, seq;

-- name: Hidden :many
SELECT collection_id FROM membership WHERE repo_id = sqlc.arg(repo_id) AND seq < 0 ORDER BY collection_id;

-- name: Show :exec
UPDATE membership SET seq = sqlc.arg(seq)
WHERE repo_id = sqlc.arg(repo_id) AND collection_id = sqlc.arg(collection_id);

-- name: AddChange :exec
INSERT INTO membership_change (seq, changed_at, repo_id, collection_id, visible, cause)
VALUES (sqlc.arg(seq), sqlc.arg(now), sqlc.arg(repo_id), sqlc.arg(collection_id), sqlc.arg(visible), sqlc.arg(cause));

-- The number that was the next one when a minute began, behind the changes that are deleted: all of lower numbers were
-- given before. The clock of the numbers goes back where clocks were set back, so that it is read from there on.
-- name: NumbersBefore :one
SELECT CAST(coalesce((SELECT min(n.seq) FROM seq_clock n WHERE n.seq > d.seq), m.next_seq) AS INTEGER) AS seq
FROM meta m CROSS JOIN (SELECT max(k.seq) AS seq FROM seq_clock k
                        WHERE k.seq > (SELECT changes_after FROM meta WHERE one = 1) AND k.minute < sqlc.arg(minute)) d
WHERE m.one = 1 AND d.seq IS NOT NULL;

-- The subquery bounds the rows, for DELETE has no LIMIT here.
-- name: PruneChanges :many
DELETE FROM membership_change WHERE seq IN (
  SELECT c.seq FROM membership_change c WHERE c.seq < sqlc.arg(before) ORDER BY c.seq LIMIT sqlc.arg(max_rows))
RETURNING seq;

-- name: SetChangesAfter :exec
UPDATE meta SET changes_after = sqlc.arg(seq) WHERE one = 1 AND changes_after < sqlc.arg(seq);

-- name: PruneSeqLeaps :exec
DELETE FROM seq_leap WHERE first_seq < sqlc.arg(seq) AND last_seq <= sqlc.arg(seq);

-- Collections that nobody has had for long, not even hidden, and that no change names any more.
-- name: PruneCollections :many
DELETE FROM collection WHERE NOT EXISTS (SELECT 1 FROM membership m WHERE m.collection_id = collection.id) AND id IN (
  SELECT c.id FROM collection c
  WHERE c.members = 0 AND c.changed_seq <= (SELECT changes_after FROM meta WHERE one = 1) AND c.id > 0
  ORDER BY c.changed_seq LIMIT sqlc.arg(max_rows))
RETURNING id, nsid;

-- name: PruneHours :exec
DELETE FROM collection_hour WHERE collection_id = sqlc.arg(collection_id);

-- Those of them that hidden repos have are looked at again once all the numbers of today are old.
-- name: PutOffCollections :execrows
UPDATE collection SET changed_seq = sqlc.arg(seq)
WHERE EXISTS (SELECT 1 FROM membership m WHERE m.collection_id = collection.id) AND id IN (
  SELECT c.id FROM collection c
  WHERE c.members = 0 AND c.changed_seq <= (SELECT changes_after FROM meta WHERE one = 1) AND c.id > 0
  ORDER BY c.changed_seq LIMIT sqlc.arg(max_rows));

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
