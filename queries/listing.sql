-- name: LastBlock :many
SELECT first_seq, entries FROM listing_block WHERE collection_id = sqlc.arg(collection_id) ORDER BY first_seq DESC LIMIT 1;

-- The block that has a number, if it is there.
-- name: BlockOf :many
SELECT first_seq, entries FROM listing_block
WHERE collection_id = sqlc.arg(collection_id) AND first_seq <= sqlc.arg(seq) ORDER BY first_seq DESC LIMIT 1;

-- name: BlocksBehind :many
SELECT first_seq, entries FROM listing_block
WHERE collection_id = sqlc.arg(collection_id) AND first_seq > sqlc.arg(first_seq) ORDER BY first_seq LIMIT sqlc.arg(max_rows);

-- name: PutBlock :exec
INSERT INTO listing_block (collection_id, first_seq, entries)
VALUES (sqlc.arg(collection_id), sqlc.arg(first_seq), sqlc.arg(entries))
ON CONFLICT (collection_id, first_seq) DO UPDATE SET entries = excluded.entries;

-- name: DeleteBlock :exec
DELETE FROM listing_block WHERE collection_id = sqlc.arg(collection_id) AND first_seq = sqlc.arg(first_seq);

-- The blocks that have what comes behind a number, beginning with that in which it would stand itself.
-- name: BlocksFrom :many
SELECT l.first_seq, l.entries FROM listing_block l
WHERE l.collection_id = sqlc.arg(collection_id)
  AND l.first_seq >= coalesce((SELECT max(b.first_seq) FROM listing_block b
                               WHERE b.collection_id = sqlc.arg(collection_id) AND b.first_seq <= sqlc.arg(after)), 0)
ORDER BY l.first_seq LIMIT sqlc.arg(max_rows);

-- name: CollectionsByName :many
SELECT c.id FROM json_each(CAST(sqlc.arg(nsids) AS TEXT)) j CROSS JOIN collection c WHERE c.nsid = j.value AND c.members > 0;

-- The collections below a prefix, that is from "app.example." up to "app.example/", which is no name. Those without
-- members are returned, too: what bounds the rows bounds what is looked at.
-- name: CollectionsBelow :many
SELECT id, members FROM collection WHERE nsid > sqlc.arg(prefix) AND nsid < sqlc.arg(behind)
ORDER BY nsid LIMIT sqlc.arg(examined);

-- Of some repos those that have a visible row with a number up to one in some of the collections.
-- name: ListedBefore :many
SELECT CAST(j.value AS INTEGER) AS id FROM json_each(CAST(sqlc.arg(repo_ids) AS TEXT)) j
WHERE EXISTS (SELECT 1 FROM membership m
              WHERE m.repo_id = CAST(j.value AS INTEGER) AND m.seq > 0 AND m.seq <= sqlc.arg(upto)
                AND m.collection_id IN (SELECT CAST(k.value AS INTEGER) FROM json_each(CAST(sqlc.arg(collection_ids) AS TEXT)) k));

-- name: VisibleBetween :many
SELECT repo_id, collection_id, seq FROM membership
WHERE repo_id > sqlc.arg(after) AND repo_id <= sqlc.arg(upto) AND seq > 0 ORDER BY repo_id, collection_id;

-- name: ListedRepos :many
SELECT id, seq, did FROM repo WHERE id > sqlc.arg(after) AND seq > 0 ORDER BY id LIMIT sqlc.arg(max_rows);

-- A piece of all blocks.
-- name: AllBlocks :many
SELECT collection_id, first_seq, entries FROM listing_block
WHERE (collection_id, first_seq) > (sqlc.arg(collection_id), sqlc.arg(first_seq))
ORDER BY collection_id, first_seq LIMIT sqlc.arg(max_rows);

-- name: CollectionDigests :many
SELECT id, nsid, members, digest FROM collection WHERE id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: CollectionSum :many
SELECT id, members, digest FROM collection WHERE nsid = sqlc.arg(nsid);

-- A piece of the collections in the order of their names, those without members too, and never that of all repos.
-- name: CollectionSums :many
SELECT nsid, members, digest FROM collection WHERE nsid > sqlc.arg(after) ORDER BY nsid LIMIT sqlc.arg(max_rows);
