-- A page of listReposByCollection. CROSS JOIN keeps the order of the tables: the collection by its name, its rows in
-- the order of the pages, the DID of each. Without statistics SQLite might begin with the repos; with them (ANALYZE) it
-- would choose anew in every file, so there are none.
-- name: PageOfCollection :many
SELECT m.seq, r.did
FROM collection c CROSS JOIN membership m CROSS JOIN repo r
WHERE c.nsid = sqlc.arg(nsid) AND m.collection_id = c.id AND m.seq > sqlc.arg(after) AND r.id = m.repo_id
ORDER BY m.seq LIMIT sqlc.arg(max_rows);

-- seq > 0 says again what the index repo_by_seq is limited to: SQLite takes it only where the query says so.
-- name: PageOfRepos :many
SELECT seq, did FROM repo WHERE seq > sqlc.arg(after) AND seq > 0 ORDER BY seq LIMIT sqlc.arg(max_rows);

-- name: CollectionIDs :many
SELECT c.id FROM json_each(CAST(sqlc.arg(nsids) AS TEXT)) j CROSS JOIN collection c WHERE c.nsid = j.value;

-- A page of the repos with records in any of some collections, each at the first of its rows. The inner SELECT takes
-- the next rows of each collection, no more than a page of each, and sorts these few; a repo that has a lower number
-- in another of the collections came with that one, on this page or an earlier one.
-- name: PageOfCollections :many
SELECT d.seq, r.did,
       CAST(EXISTS (SELECT 1 FROM json_each(CAST(sqlc.arg(ids) AS TEXT)) k CROSS JOIN membership x
                    WHERE x.repo_id = d.repo_id AND x.collection_id = k.value
                      AND x.seq > 0 AND x.seq < d.seq) AS INTEGER) AS listed_before
FROM (SELECT m.seq, m.repo_id
      FROM json_each(CAST(sqlc.arg(ids) AS TEXT)) j CROSS JOIN membership m
      WHERE m.collection_id = j.value AND m.seq > sqlc.arg(after)
        AND m.seq <= coalesce((SELECT y.seq FROM membership y
                               WHERE y.collection_id = j.value AND y.seq > sqlc.arg(after)
                               ORDER BY y.seq LIMIT 1 OFFSET sqlc.arg(max_rows)), 9223372036854775807)
      ORDER BY m.seq LIMIT sqlc.arg(max_rows)) d
CROSS JOIN repo r
WHERE r.id = d.repo_id
ORDER BY d.seq;

-- All visible rows from one on, in the order of the primary key.
-- name: VisibleRows :many
SELECT m.collection_id, m.seq, c.nsid, r.did
FROM membership m CROSS JOIN collection c CROSS JOIN repo r
WHERE (m.collection_id, m.seq) > (sqlc.arg(collection_id), sqlc.arg(after)) AND m.seq > 0
  AND c.id = m.collection_id AND r.id = m.repo_id
ORDER BY m.collection_id, m.seq LIMIT sqlc.arg(max_rows);
