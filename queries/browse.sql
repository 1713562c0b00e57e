-- A piece of the names in their order. The inner LIMIT bounds the names that are looked at, with members or without,
-- so that a page never scans past a million empty ones.
-- name: CollectionsAfter :many
SELECT d.nsid, d.members
FROM (SELECT c.nsid, c.members FROM collection c WHERE c.nsid > sqlc.arg(after)
      ORDER BY c.nsid LIMIT sqlc.arg(examined)) d
WHERE d.members > 0 ORDER BY d.nsid LIMIT sqlc.arg(max_rows);

-- Where the piece of CollectionsAfter ends.
-- name: CollectionBehind :one
SELECT nsid FROM collection WHERE nsid > sqlc.arg(after) ORDER BY nsid LIMIT 1 OFFSET sqlc.arg(skipped);

-- CROSS JOIN: look up each name; do not scan the collections for the few names.
-- name: CollectionsNamed :many
SELECT c.nsid, c.members FROM json_each(CAST(sqlc.arg(nsids) AS TEXT)) j CROSS JOIN collection c
WHERE c.nsid = j.value AND c.members > 0;

-- name: LargestCollections :many
SELECT nsid, members FROM collection
WHERE members > 0 AND id > 0 ORDER BY members DESC, nsid LIMIT sqlc.arg(max_rows);

-- The minute is that of the last row of the clock that is not above the number.
-- name: CollectionsOfRepo :many
SELECT c.id, c.nsid, m.seq, m.source,
       CAST(coalesce((SELECT k.minute FROM seq_clock k
                      WHERE k.seq <= abs(m.seq) ORDER BY k.seq DESC LIMIT 1), 0) AS INTEGER) AS minute
FROM membership m CROSS JOIN collection c
WHERE m.repo_id = sqlc.arg(repo_id) AND m.collection_id > sqlc.arg(after) AND c.id = m.collection_id
ORDER BY m.collection_id LIMIT sqlc.arg(max_rows);

-- The repos whose head is known, in the order of their ids.
-- name: HeadsAfter :many
SELECT h.repo_id, r.did, h.rev, h.cid, r.state, r.active, CAST(coalesce(r.status, '') AS TEXT) AS status
FROM repo_head h CROSS JOIN repo r
WHERE h.repo_id > sqlc.arg(after) AND r.id = h.repo_id
ORDER BY h.repo_id LIMIT sqlc.arg(max_rows);

-- name: HostsAfter :many
SELECT h.id, h.hostname, h.accounts, CAST(coalesce(h.status, '') AS TEXT) AS status,
       CAST(coalesce(h.listed_status, '') AS TEXT) AS listed_status, q.answers, q.cooldown_until
FROM host h CROSS JOIN host_queue q
WHERE h.id > sqlc.arg(after) AND q.host_id = h.id
ORDER BY h.id LIMIT sqlc.arg(max_rows);

-- HostNamed has the same columns.
-- name: HostNamed :one
SELECT h.id, h.hostname, h.accounts, CAST(coalesce(h.status, '') AS TEXT) AS status,
       CAST(coalesce(h.listed_status, '') AS TEXT) AS listed_status, q.answers, q.cooldown_until
FROM host h CROSS JOIN host_queue q
WHERE h.hostname = sqlc.arg(hostname) AND q.host_id = h.id;
