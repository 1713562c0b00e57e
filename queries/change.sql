-- name: LastSeq :one
SELECT CAST(next_seq - 1 AS INTEGER) AS seq FROM meta WHERE one = 1;

-- How far the feed reaches, the end of the last leap that begins at a number or before it, and whether others begin behind.
-- name: FeedBounds :one
SELECT CAST(m.next_seq - 1 AS INTEGER) AS last_seq, m.changes_after,
       CAST(coalesce((SELECT l.last_seq FROM seq_leap l WHERE l.first_seq <= sqlc.arg(seq)
                      ORDER BY l.first_seq DESC LIMIT 1), 0) AS INTEGER) AS leap_end,
       EXISTS (SELECT 1 FROM seq_leap n WHERE n.first_seq > sqlc.arg(seq)) AS leaps_behind
FROM meta m WHERE m.one = 1;

-- The names are looked up row by row: the order is that of the feed.
-- name: ChangesAfter :many
SELECT f.seq, f.changed_at, f.repo_id, r.did, c.nsid, f.visible, f.cause
FROM membership_change f CROSS JOIN repo r ON r.id = f.repo_id CROSS JOIN collection c ON c.id = f.collection_id
WHERE f.seq > sqlc.arg(after) ORDER BY f.seq LIMIT sqlc.arg(max_rows);

-- name: VisibleSet :many
SELECT c.nsid FROM membership m CROSS JOIN collection c ON c.id = m.collection_id
WHERE m.repo_id = sqlc.arg(repo_id) AND m.seq > 0 ORDER BY m.collection_id;
