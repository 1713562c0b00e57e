-- name: CheckListedRepos :many
SELECT CAST(r.did || ': ' || CASE WHEN r.seq > 0 THEN 'listed' ELSE 'not listed' END || ', active '
            || r.active || ', proof ' || coalesce(r.proof, 'none') AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r
WHERE (r.seq > 0) <> (r.active = 1 AND r.proof IS NOT NULL) LIMIT 20;

-- name: CheckVisibleRows :many
SELECT CAST(r.did || '/' || coalesce(c.nsid, 'collection ' || m.collection_id) || ': '
            || CASE WHEN m.seq > 0 THEN 'visible' ELSE 'hidden' END || ', its repo has active '
            || r.active || ', proof ' || coalesce(r.proof, 'none') AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r CROSS JOIN membership m LEFT JOIN collection c ON c.id = m.collection_id
WHERE m.repo_id = r.id AND (m.seq > 0) <> (r.active = 1 AND r.proof IS NOT NULL) LIMIT 20;

-- name: CheckUniqueNumbers :many
SELECT CAST('number ' || n.seq || ': given ' || count(*) || ' times' AS TEXT) AS what,
       count(*) OVER () AS total
FROM (SELECT abs(m.seq) AS seq FROM membership m UNION ALL SELECT r.seq FROM repo r WHERE r.seq > 0) n
GROUP BY n.seq HAVING count(*) > 1 LIMIT 20;

-- name: CheckNumbersBelowNext :many
SELECT CAST(n.owner || ': number ' || n.seq || ', the next is ' || k.next_seq AS TEXT) AS what,
       count(*) OVER () AS total
FROM (SELECT 'membership of repo ' || m.repo_id || ' in collection ' || m.collection_id AS owner, abs(m.seq) AS seq
      FROM membership m
      UNION ALL SELECT r.did, r.seq FROM repo r WHERE r.seq > 0) n
CROSS JOIN meta k
WHERE n.seq >= k.next_seq LIMIT 20;

-- name: CheckSeqClock :many
SELECT CAST('number ' || t.seq || ' at minute ' || t.minute || ': ' || t.fault AS TEXT) AS what,
       count(*) OVER () AS total
FROM (SELECT a.seq, a.minute, 'not a number that was given' AS fault FROM seq_clock a
      WHERE a.seq < 1 OR a.seq >= (SELECT k.next_seq FROM meta k)
      UNION ALL
      SELECT b.seq, b.minute, 'the row before has that minute too' FROM seq_clock b
      WHERE b.minute = (SELECT p.minute FROM seq_clock p WHERE p.seq < b.seq ORDER BY p.seq DESC LIMIT 1)
      UNION ALL
      SELECT c.seq, c.minute, 'not after 1970' FROM seq_clock c WHERE c.minute < 1
      UNION ALL
      SELECT m.seq, 0, 'visible, but older than the clock' FROM membership m
      WHERE m.seq > 0 AND m.seq < (SELECT coalesce(min(f.seq), 9223372036854775807) FROM seq_clock f)) t
LIMIT 20;

-- name: CheckMembers :many
SELECT CAST(c.nsid || ': members ' || c.members || ', visible rows ' || c.visible AS TEXT) AS what,
       count(*) OVER () AS total
FROM (SELECT a.nsid, a.members,
             (SELECT count(*) FROM membership m WHERE m.collection_id = a.id AND m.seq > 0) AS visible
      FROM collection a) c
WHERE c.members <> c.visible LIMIT 20;

-- name: CheckCollectionTally :many
SELECT CAST('collection_tally: ' || t.collections || ' collections and ' || t.memberships || ' memberships too many' AS TEXT) AS what,
       count(*) OVER () AS total
FROM (SELECT coalesce(sum(a.collections), 0) AS collections, coalesce(sum(a.memberships), 0) AS memberships
      FROM (SELECT b.collections, b.memberships FROM collection_tally b
            UNION ALL SELECT -1, -c.members FROM collection c WHERE c.members > 0) a) t
WHERE t.collections <> 0 OR t.memberships <> 0 LIMIT 20;

-- name: CheckRepoTally :many
SELECT CAST('state ' || t.state || ': repo_tally has ' || sum(t.repos) || ' repos and ' || sum(t.active)
            || ' active ones too many' AS TEXT) AS what,
       count(*) OVER () AS total
FROM (SELECT a.state, a.repos, a.active FROM repo_tally a
      UNION ALL SELECT r.state, -count(*), -sum(r.active) FROM repo r GROUP BY r.state) t
GROUP BY t.state HAVING sum(t.repos) <> 0 OR sum(t.active) <> 0 LIMIT 20;

-- name: CheckQueueTally :many
SELECT CAST('background ' || t.background || ': queue_tally has ' || sum(t.waiting) || ' rows too many' AS TEXT) AS what,
       count(*) OVER () AS total
FROM (SELECT a.background, a.waiting FROM queue_tally a
      UNION ALL SELECT q.background, -count(*) FROM resync_queue q GROUP BY q.background) t
GROUP BY t.background HAVING sum(t.waiting) <> 0 LIMIT 20;

-- name: CheckSynchronized :many
SELECT CAST(r.did || ': synchronized, but' || CASE WHEN r.active = 1 THEN '' ELSE ' inactive' END
            || CASE WHEN r.proof IS NULL THEN ' without proof' ELSE '' END
            || CASE WHEN h.repo_id IS NULL THEN ' without head' ELSE '' END
            || CASE WHEN i.repo_id IS NULL THEN ' without identity' ELSE '' END AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r LEFT JOIN repo_head h ON h.repo_id = r.id LEFT JOIN identity i ON i.repo_id = r.id
WHERE r.state = 3 AND (r.active <> 1 OR r.proof IS NULL OR h.repo_id IS NULL OR i.repo_id IS NULL) LIMIT 20;

-- name: CheckUnproven :many
SELECT CAST(r.did || ': ' || CASE r.state WHEN 0 THEN 'candidate' ELSE 'not_found' END || ' with proof '
            || r.proof AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r
WHERE r.state IN (0, 4) AND r.proof IS NOT NULL LIMIT 20;

-- name: CheckHeads :many
SELECT CAST(r.did || ': ' || CASE WHEN h.repo_id IS NOT NULL THEN 'candidate with a head'
                                  ELSE 'proof ' || r.proof || ' without a head' END AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r LEFT JOIN repo_head h ON h.repo_id = r.id
WHERE (r.state = 0 AND h.repo_id IS NOT NULL) OR (r.proof IS NOT NULL AND h.repo_id IS NULL) LIMIT 20;

-- name: CheckRevs :many
SELECT CAST(r.did || ': rev ' || coalesce(h.rev, 'none') || ', seen ' || coalesce(r.seen_rev, 'none') AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r LEFT JOIN repo_head h ON h.repo_id = r.id
WHERE h.rev < 0 OR r.seen_rev < 0 LIMIT 20;

-- name: CheckEarlierKeys :many
SELECT CAST(r.did || ': proof ' || coalesce(r.proof, 'none') || ', earlier keys up to rev ' || coalesce(i.earlier_rev, 'none')
            AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r JOIN identity i ON i.repo_id = r.id
WHERE i.earlier_rev <= 0 OR (r.proof = 3 AND i.earlier_rev IS NULL) LIMIT 20;

-- name: CheckAccounts :many
SELECT CAST(r.did || ': ' || CASE WHEN r.active = 1 THEN 'active, but ' || r.status
                                  ELSE 'inactive, but ' || CASE r.state WHEN 2 THEN 'resyncing' ELSE 'synchronized' END
                             END AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r
WHERE (r.active = 1 AND r.status IS NOT NULL) OR (r.active = 0 AND r.state IN (2, 3)) LIMIT 20;

-- name: CheckProofTimes :many
SELECT CAST(r.did || ': proof ' || r.proof || ' without its time' AS TEXT) AS what, count(*) OVER () AS total
FROM repo r
WHERE r.proof IS NOT NULL AND r.proven_at IS NULL LIMIT 20;

-- name: CheckIdentities :many
SELECT CAST(r.did || ': ' || CASE WHEN r.state = 2 THEN 'resyncing' WHEN r.active = 0 THEN 'inactive' ELSE 'with a head' END
            || ', but no identity' AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r
WHERE (r.state = 2 OR r.active = 0 OR EXISTS (SELECT 1 FROM repo_head h WHERE h.repo_id = r.id))
  AND NOT EXISTS (SELECT 1 FROM identity i WHERE i.repo_id = r.id) LIMIT 20;

-- name: CheckQueued :many
SELECT CAST(r.did || ': state ' || r.state || ', active, but not in the queue' AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r
WHERE r.active = 1 AND r.state <> 3 AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id) LIMIT 20;

-- name: CheckClaims :many
SELECT CAST(r.did || ': proof 4, and not in the queue' AS TEXT) AS what, count(*) OVER () AS total
FROM repo r
WHERE r.proof = 4 AND r.state = 3 AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = r.id) LIMIT 20;

-- name: CheckStaleIdentities :many
SELECT CAST(coalesce(r.did, 'repo ' || i.repo_id) || ': its identity is stale, but it is not in the queue' AS TEXT) AS what,
       count(*) OVER () AS total
FROM identity i LEFT JOIN repo r ON r.id = i.repo_id
WHERE i.stale = 1 AND NOT EXISTS (SELECT 1 FROM resync_queue q WHERE q.repo_id = i.repo_id) LIMIT 20;

-- name: CheckResyncing :many
SELECT CAST(r.did || ': resyncing, but ' || CASE WHEN q.repo_id IS NULL THEN 'not in the queue'
                                                 ELSE 'claimed by nobody' END AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo r LEFT JOIN resync_queue q ON q.repo_id = r.id
WHERE r.state = 2 AND q.claim IS NULL LIMIT 20;

-- name: CheckQueueRows :many
SELECT CAST(coalesce(r.did, 'repo ' || q.repo_id) || ': reason ' || q.reason || ', priority ' || q.priority
            || ', background ' || q.background || ', attempts ' || q.attempts || ', generation ' || q.generation
            || ', claim ' || coalesce(q.claim, 'none') AS TEXT) AS what,
       count(*) OVER () AS total
FROM resync_queue q LEFT JOIN repo r ON r.id = q.repo_id
WHERE q.reason NOT BETWEEN 1 AND 15 OR q.priority NOT BETWEEN 1 AND 6 OR (q.background = 1) <> (q.priority = 6)
   OR q.attempts < 0 OR q.generation < 0 OR q.claim NOT BETWEEN 0 AND q.generation LIMIT 20;

-- name: CheckQueueHosts :many
SELECT CAST(r.did || ': host ' || q.host_id || ', but host ' || h.host_id || ' is asked next' AS TEXT) AS what,
       count(*) OVER () AS total
FROM resync_queue q CROSS JOIN repo r CROSS JOIN repo_host_queue h
WHERE r.id = q.repo_id AND h.repo_id = q.repo_id AND q.host_id <> h.host_id LIMIT 20;

-- name: CheckHostQueues :many
-- It seeks the first row of each host and priority: the queue has many more rows than that.
SELECT CAST(coalesce(n.hostname, 'host ' || f.host_id) || ': ' || f.fault AS TEXT) AS what, count(*) OVER () AS total
FROM (SELECT a.id AS host_id, 'it has no queue' AS fault
      FROM (SELECT b.id FROM host b UNION ALL VALUES (0), (-1)) a
      WHERE NOT EXISTS (SELECT 1 FROM host_queue c WHERE c.host_id = a.id)
      UNION ALL
      SELECT d.host_id, d.running || ' attempts ask it' FROM host_queue d WHERE d.running < 0
      UNION ALL
      SELECT e.host_id, 'a row of priority ' || e.row_priority || ' is due at ' || e.row_due || ', but its head has priority '
             || coalesce(e.priority, 'none') || ', is due at ' || coalesce(e.due_at, 'no time') || ' and is read again at '
             || coalesce(e.better_at, 'no time')
      FROM (SELECT g.host_id, g.priority, g.due_at, g.better_at, p.id AS row_priority,
                   (SELECT min(q.not_before) FROM resync_queue q
                    WHERE q.claim IS NULL AND q.host_id = g.host_id AND q.priority = p.id) AS row_due
            FROM host_queue g CROSS JOIN resync_priority p) e
      WHERE e.row_due IS NOT NULL
        AND NOT coalesce(e.row_priority > e.priority OR (e.row_priority = e.priority AND e.due_at <= e.row_due)
                         OR e.better_at <= e.row_due, 0)) f
LEFT JOIN host n ON n.id = f.host_id LIMIT 20;

-- name: CheckHeld :many
SELECT CAST(coalesce(r.did, 'repo ' || q.repo_id) || ': held back, but '
            || CASE WHEN NOT EXISTS (SELECT 1 FROM plc_log l WHERE l.done = 0) THEN 'no log is being read'
                    WHEN q.priority <> 4 THEN 'priority ' || q.priority
                    WHEN q.claim IS NOT NULL THEN 'claimed'
                    ELSE 'its identity is not stale' END AS TEXT) AS what,
       count(*) OVER () AS total
FROM resync_queue q LEFT JOIN repo r ON r.id = q.repo_id
WHERE q.not_before >= CAST(sqlc.arg(held) AS INTEGER)
  AND (q.priority <> 4 OR q.claim IS NOT NULL
       OR NOT EXISTS (SELECT 1 FROM plc_log m WHERE m.done = 0)
       OR EXISTS (SELECT 1 FROM identity i WHERE i.repo_id = q.repo_id AND i.stale = 0)) LIMIT 20;

-- name: CheckPLCLog :many
SELECT CAST('plc_log: ' || t.fault AS TEXT) AS what, count(*) OVER () AS total
FROM (SELECT 'seen is no object' AS fault FROM plc_log a
      WHERE CASE WHEN json_valid(a.seen) THEN json_type(a.seen) ELSE '' END <> 'object'
      UNION ALL
      SELECT 'it has seen ' || e.key || ' of ' || coalesce(e.value, 'no time') FROM plc_log b, json_each(b.seen) e
      WHERE json_valid(b.seen) AND (e.type <> 'integer' OR e.value <= b.after_at)
      UNION ALL
      SELECT 'done ' || c.done || ', after ' || c.after_at FROM plc_log c WHERE c.done NOT IN (0, 1) OR c.after_at < 0) t
LIMIT 20;

-- name: CheckBuffer :many
SELECT CAST(coalesce(r.did, 'repo ' || b.repo_id) || ': rev ' || b.rev || ', ' || b.fault AS TEXT) AS what,
       count(*) OVER () AS total
FROM (SELECT w.repo_id, w.rev, 'the repo is not resyncing' AS fault FROM resync_buffer w
      WHERE NOT EXISTS (SELECT 1 FROM repo o WHERE o.id = w.repo_id AND o.state = 2)
      UNION ALL
      SELECT x.repo_id, x.rev, 'a digest that is not 32 bytes' FROM resync_buffer x
      WHERE length(x.prev) <> 32 OR length(x.data) <> 32 OR length(x.cid) <> 32
      UNION ALL
      SELECT y.repo_id, y.rev, 'present or died is no list' FROM resync_buffer y
      WHERE CASE WHEN json_valid(y.present) THEN json_type(y.present) ELSE '' END <> 'array'
         OR CASE WHEN json_valid(y.died) THEN json_type(y.died) ELSE '' END <> 'array'
      UNION ALL
      SELECT z.repo_id, z.rev, 'the last of ' || z.n
      FROM (SELECT v.repo_id, max(v.rev) AS rev, count(*) AS n FROM resync_buffer v GROUP BY v.repo_id) z
      WHERE z.n > CAST(sqlc.arg(most) AS INTEGER)) b
LEFT JOIN repo r ON r.id = b.repo_id LIMIT 20;

-- name: CheckOrphans :many
SELECT CAST(o.what || ': there is no such ' || o.missing AS TEXT) AS what, count(*) OVER () AS total
FROM (SELECT 'membership, repo ' || a.repo_id AS what, 'repo' AS missing
      FROM (SELECT DISTINCT n.repo_id FROM membership n) a
      WHERE NOT EXISTS (SELECT 1 FROM repo ar WHERE ar.id = a.repo_id)
      UNION ALL
      SELECT 'membership, collection ' || b.collection_id, 'collection'
      FROM (SELECT DISTINCT p.collection_id FROM membership p) b
      WHERE NOT EXISTS (SELECT 1 FROM collection bc WHERE bc.id = b.collection_id)
      UNION ALL
      SELECT 'repo_head, repo ' || h.repo_id, 'repo' FROM repo_head h
      WHERE NOT EXISTS (SELECT 1 FROM repo hr WHERE hr.id = h.repo_id)
      UNION ALL
      SELECT 'identity, repo ' || i.repo_id, 'repo' FROM identity i
      WHERE NOT EXISTS (SELECT 1 FROM repo ir WHERE ir.id = i.repo_id)
      UNION ALL
      SELECT 'identity of repo ' || j.repo_id || ', host ' || j.host_id, 'host' FROM identity j
      WHERE NOT EXISTS (SELECT 1 FROM host jh WHERE jh.id = j.host_id)
      UNION ALL
      SELECT 'resync_queue, repo ' || q.repo_id, 'repo' FROM resync_queue q
      WHERE NOT EXISTS (SELECT 1 FROM repo qr WHERE qr.id = q.repo_id)
      UNION ALL
      SELECT 'resync_buffer, repo ' || w.repo_id, 'repo' FROM resync_buffer w
      WHERE NOT EXISTS (SELECT 1 FROM repo wr WHERE wr.id = w.repo_id)
      UNION ALL
      SELECT 'membership_change ' || x.id || ', repo ' || x.repo_id, 'repo' FROM membership_change x
      WHERE NOT EXISTS (SELECT 1 FROM repo xr WHERE xr.id = x.repo_id)
      UNION ALL
      SELECT 'membership_change ' || y.id || ', collection ' || y.collection_id, 'collection' FROM membership_change y
      WHERE NOT EXISTS (SELECT 1 FROM collection yc WHERE yc.id = y.collection_id)) o
LIMIT 20;

-- name: CheckChanges :many
SELECT CAST(coalesce(r.did, 'repo ' || t.repo_id) || '/' || coalesce(c.nsid, 'collection ' || t.collection_id)
            || ': change ' || t.id || ', ' || t.fault AS TEXT) AS what,
       count(*) OVER () AS total
FROM (SELECT a.id, a.repo_id, a.collection_id, 'visible ' || a.visible || ' by cause ' || a.cause AS fault
      FROM membership_change a
      WHERE a.cause NOT BETWEEN 1 AND 6 OR a.visible <> (a.cause IN (1, 4, 5))
      UNION ALL
      SELECT d.id, d.repo_id, d.collection_id, 'the last one, says visible ' || d.visible || ' and the row says '
             || (1 - d.visible)
      FROM (SELECT b.id, b.repo_id, b.collection_id, b.visible,
                   EXISTS (SELECT 1 FROM membership m
                           WHERE m.repo_id = b.repo_id AND m.collection_id = b.collection_id AND m.seq > 0) AS now
            FROM (SELECT max(n.id) AS id, n.repo_id, n.collection_id, n.visible FROM membership_change n
                  WHERE n.id >= (SELECT max(g.id) FROM membership_change g
                                 WHERE NOT EXISTS (SELECT 1 FROM membership_change p WHERE p.id = g.id - 1))
                  GROUP BY n.repo_id, n.collection_id) b) d
      WHERE d.visible <> d.now) t
LEFT JOIN repo r ON r.id = t.repo_id LEFT JOIN collection c ON c.id = t.collection_id LIMIT 20;

-- name: CheckSources :many
SELECT CAST(coalesce(r.did, 'repo ' || m.repo_id) || ': source ' || m.source AS TEXT) AS what, count(*) OVER () AS total
FROM membership m LEFT JOIN repo r ON r.id = m.repo_id
WHERE m.source NOT BETWEEN 1 AND 3 LIMIT 20;

-- name: CheckDigests :many
SELECT CAST(coalesce(r.did, 'repo ' || h.repo_id) || ': data of ' || length(h.data) || ' bytes, cid of '
            || length(h.cid) AS TEXT) AS what,
       count(*) OVER () AS total
FROM repo_head h LEFT JOIN repo r ON r.id = h.repo_id
WHERE length(h.data) <> 32 OR length(h.cid) <> 32 LIMIT 20;

-- name: CheckKeys :many
SELECT CAST(coalesce(r.did, 'repo ' || i.repo_id) || ': signing key ' || hex(substr(i.signing_key, 1, 40)) AS TEXT) AS what,
       count(*) OVER () AS total
FROM identity i LEFT JOIN repo r ON r.id = i.repo_id
WHERE length(i.signing_key) <> 35 OR hex(substr(i.signing_key, 1, 2)) NOT IN ('E701', '8024')
   OR hex(substr(i.signing_key, 3, 1)) NOT IN ('02', '03') LIMIT 20;

-- name: CheckFlags :many
SELECT CAST(f.what AS TEXT) AS what, count(*) OVER () AS total
FROM (SELECT r.did || ': active ' || r.active || ', state ' || r.state || ', proof ' || coalesce(r.proof, 'none')
             || ', seq ' || r.seq AS what
      FROM repo r
      WHERE r.active NOT IN (0, 1) OR r.state NOT BETWEEN 0 AND 4 OR r.proof NOT BETWEEN 1 AND 4 OR r.seq < 0
      UNION ALL
      SELECT 'identity of repo ' || i.repo_id || ': stale ' || i.stale FROM identity i WHERE i.stale NOT IN (0, 1)
      UNION ALL
      SELECT 'resync_queue, repo ' || q.repo_id || ': background ' || q.background || ', ask_status ' || q.ask_status
      FROM resync_queue q
      WHERE q.background NOT IN (0, 1) OR q.ask_status NOT IN (0, 1)
      UNION ALL
      SELECT 'membership, repo ' || m.repo_id || ', collection ' || m.collection_id || ': seq 0' FROM membership m
      WHERE m.seq = 0
      UNION ALL
      SELECT 'upstream ' || u.url || ': kind ' || u.kind FROM upstream u WHERE u.kind NOT IN ('relay', 'pds')
      UNION ALL
      SELECT 'host ' || h.hostname || ': insecure ' || h.insecure FROM host h WHERE h.insecure NOT IN (0, 1)
      UNION ALL
      SELECT 'membership_change ' || c.id || ': visible ' || c.visible FROM membership_change c
      WHERE c.visible NOT IN (0, 1)) f
LIMIT 20;

-- name: CheckWalks :many
SELECT CAST(u.url || ': its walk stands at ' || coalesce(u.crawl_cursor, 'no page') || ', but '
            || CASE WHEN u.crawl_wanted_at IS NULL THEN 'nobody wants it' ELSE 'it never began' END AS TEXT) AS what,
       count(*) OVER () AS total
FROM upstream u
WHERE (u.crawl_cursor IS NOT NULL OR u.crawl_again = 1)
  AND (u.crawl_wanted_at IS NULL OR (u.crawl_started_at IS NULL AND u.crawl_again = 0)) LIMIT 20;

-- name: CheckRefusals :many
SELECT CAST(f.reason || ': count ' || f.count || ', sample ' || substr(f.sample, 1, 80) AS TEXT) AS what,
       count(*) OVER () AS total
FROM refusal f
WHERE f.count < CASE WHEN json_valid(f.sample) THEN json_array_length(f.sample) ELSE 0 END
   OR CASE WHEN json_valid(f.sample) THEN json_type(f.sample) ELSE '' END <> 'array' LIMIT 20;

-- name: CheckMeta :many
SELECT CAST(t.what AS TEXT) AS what, count(*) OVER () AS total
FROM (SELECT 'meta: ' || a.n || ' rows' AS what FROM (SELECT count(*) AS n FROM meta) a WHERE a.n <> 1
      UNION ALL
      SELECT 'meta: index id ' || b.index_id FROM meta b
      WHERE length(b.index_id) <> 13 OR b.index_id GLOB '*[^a-z2-7]*'
      UNION ALL
      SELECT 'meta: next number ' || c.next_seq FROM meta c WHERE c.next_seq < 1) t
LIMIT 20;

-- name: CheckDIDs :many
SELECT id, did FROM repo WHERE id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: CheckNSIDs :many
SELECT id, nsid FROM collection WHERE id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: CheckHosts :many
SELECT id, hostname, insecure FROM host WHERE id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);
