-- name: MembersOf :many
SELECT members FROM collection WHERE nsid = sqlc.arg(nsid) AND members > 0;

-- What the collections below a prefix have together, looked for among so many names. (CollectionsBelow)
-- name: MembersBelow :one
SELECT count(*) AS examined, CAST(coalesce(sum(d.members > 0), 0) AS INTEGER) AS collections,
       CAST(coalesce(sum(d.members), 0) AS INTEGER) AS members
FROM (SELECT members FROM collection WHERE nsid > sqlc.arg(prefix) AND nsid < sqlc.arg(behind)
      ORDER BY nsid LIMIT sqlc.arg(examined)) d;

-- A collection with the first hour that it has figures of.
-- name: CollectionSince :many
SELECT c.id, c.members,
       CAST(coalesce((SELECT h.hour FROM collection_hour h WHERE h.collection_id = c.id ORDER BY h.hour LIMIT 1), 0) AS INTEGER) AS hour
FROM collection c WHERE c.nsid = sqlc.arg(nsid);

-- What came and went from an hour on, for each step of so many hours: the steps are counted from 1970.
-- name: ChangesFrom :many
SELECT CAST(hour / sqlc.arg(hours) AS INTEGER) AS step, CAST(sum(births) AS INTEGER) AS births, CAST(sum(deaths) AS INTEGER) AS deaths
FROM collection_hour WHERE collection_id = sqlc.arg(collection_id) AND hour >= sqlc.arg(from_hour)
GROUP BY step ORDER BY step;
