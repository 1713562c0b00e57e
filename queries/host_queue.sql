-- name: WakeHosts :many
-- WakeHosts returns the hosts for which another row may have become more urgent than the head.
SELECT host_id FROM host_queue INDEXED BY host_queue_better WHERE better_at <= sqlc.arg(now);

-- name: HostHeads :many
-- HostHeads returns when the first row of each priority of a host is due, without reading the others.
SELECT h.priority, CAST(h.due_at AS INTEGER) AS due_at
FROM (SELECT p.id AS priority, (SELECT min(q.due_at) FROM resync_queue q
                                WHERE q.due_at IS NOT NULL AND q.host_id = sqlc.arg(host) AND q.priority = p.id) AS due_at
      FROM resync_priority p) h
WHERE h.due_at IS NOT NULL ORDER BY h.priority;

-- name: SetHead :exec
UPDATE host_queue SET priority = sqlc.arg(priority), due_at = sqlc.arg(due_at), better_at = sqlc.arg(better_at)
WHERE host_id = sqlc.arg(host);

-- name: ReadyHosts :many
-- ReadyHosts returns the hosts that may be asked now: those with the most urgent rows first, and of them the one
-- that has been ready for longest. It seeks once for each priority, so that it never reads those that wait.
SELECT r.host_id, r.priority, r.unproven, r.rate, r.next_at, r.served_at FROM (
  SELECT * FROM (
    SELECT h.host_id, p.id AS priority, h.unproven, h.rate, h.next_at, h.served_at, h.ready_at
    FROM resync_priority p CROSS JOIN host_queue h INDEXED BY host_queue_ready
    WHERE h.unproven = 0 AND h.priority = p.id AND h.ready_at <= sqlc.arg(now)
    ORDER BY p.id, h.ready_at LIMIT sqlc.arg(max_rows)) a
  UNION ALL
  SELECT * FROM (
    SELECT i.host_id, o.id AS priority, i.unproven, i.rate, i.next_at, i.served_at, i.ready_at
    FROM resync_priority o CROSS JOIN host_queue i INDEXED BY host_queue_ready
    WHERE i.unproven = 1 AND i.priority = o.id AND i.ready_at <= sqlc.arg(now)
    ORDER BY o.id, i.ready_at LIMIT sqlc.arg(max_unproven)) b) r
ORDER BY r.priority, r.ready_at LIMIT sqlc.arg(max_rows);

-- name: NextReady :one
-- NextReady returns when a host may be asked, or a head is to be read anew, for the first time.
SELECT CAST(coalesce(min(t.at), 9223372036854775807) AS INTEGER) AS at FROM (
  SELECT (SELECT min(h.ready_at) FROM host_queue h INDEXED BY host_queue_ready
          WHERE h.unproven = 0 AND h.priority = p.id AND h.ready_at IS NOT NULL) AS at
  FROM resync_priority p
  UNION ALL
  SELECT (SELECT min(i.ready_at) FROM host_queue i INDEXED BY host_queue_ready
          WHERE i.unproven = 1 AND i.priority = o.id AND i.ready_at IS NOT NULL AND CAST(sqlc.arg(unproven) AS INTEGER) = 1)
  FROM resync_priority o
  UNION ALL
  SELECT min(b.better_at) FROM host_queue b WHERE b.better_at IS NOT NULL) t;

-- name: FirstRows :many
-- FirstRows returns the row that a host is asked for next, and the one after it.
SELECT repo_id, priority, CAST(due_at AS INTEGER) AS due_at FROM resync_queue
WHERE due_at IS NOT NULL AND host_id = sqlc.arg(host) AND priority >= sqlc.arg(priority)
ORDER BY priority, due_at LIMIT 2;

-- name: BeginAttempt :exec
UPDATE host_queue SET running = running + 1, served_at = sqlc.arg(now), next_at = sqlc.arg(next_at),
                      priority = sqlc.arg(priority), due_at = sqlc.arg(due_at)
WHERE host_id = sqlc.arg(host);

-- name: FinishAttempt :exec
UPDATE host_queue SET running = running - 1, next_at = sqlc.arg(next_at) WHERE host_id = sqlc.arg(host);

-- name: ServedHost :exec
UPDATE host_queue SET served_at = sqlc.arg(now) WHERE host_id = sqlc.arg(host);

-- name: SetNextAt :exec
UPDATE host_queue SET next_at = sqlc.arg(next_at) WHERE host_id = sqlc.arg(host);

-- name: SetShare :exec
UPDATE host_queue SET share = sqlc.arg(share) WHERE host_id = sqlc.arg(host);

-- name: HostLimits :one
SELECT rate, next_at, cooldown_until FROM host_queue WHERE host_id = sqlc.arg(host);

-- name: ForgetAttempts :exec
UPDATE host_queue SET running = 0 WHERE running <> 0;

-- name: ClampHosts :exec
-- ClampHosts brings forward what a clock that was ahead has put off.
UPDATE host_queue SET served_at = min(served_at, CAST(sqlc.arg(now) AS INTEGER)),
                      next_at = min(next_at, CAST(sqlc.arg(next) AS INTEGER)),
                      cooldown_until = min(cooldown_until, CAST(sqlc.arg(cooldown) AS INTEGER)),
                      better_at = CASE WHEN priority IS NULL THEN better_at ELSE sqlc.arg(now) END
WHERE served_at > sqlc.arg(now) OR next_at > sqlc.arg(next) OR cooldown_until > sqlc.arg(cooldown);

-- name: AnsweredHost :execrows
-- AnsweredHost counts an answer of a host that did not fail before it, as nearly all of them do; else it changes
-- nothing, and there is an error to be cleared beside RecoveredHost.
UPDATE host_queue SET answers = answers + 1 WHERE host_id = sqlc.arg(host) AND failures = 0;

-- name: RecoveredHost :exec
UPDATE host_queue SET answers = answers + 1, failures = 0, failed_repo_id = NULL WHERE host_id = sqlc.arg(host);

-- name: ClearHostError :exec
UPDATE host SET status = NULL, error = NULL, error_at = NULL
WHERE id = sqlc.arg(host) AND (status IS NOT NULL OR error_at IS NOT NULL);

-- name: FailedHost :one
-- FailedHost counts a failure that is no part of the last one: its request began after that one, and after the
-- pause that followed, and it is not of the same repo.
UPDATE host_queue SET failures = failures + 1, failed_repo_id = sqlc.narg(repo)
WHERE host_queue.host_id = sqlc.arg(host) AND coalesce(failed_repo_id <> sqlc.narg(repo), 1) AND cooldown_until <= CAST(sqlc.arg(began) AS INTEGER)
  AND coalesce((SELECT h.error_at FROM host h WHERE h.id = host_queue.host_id), 0) <= CAST(sqlc.arg(began) AS INTEGER)
RETURNING failures;

-- name: SetHostError :exec
UPDATE host SET error = sqlc.arg(error), error_at = sqlc.arg(now),
                status = CASE WHEN CAST(sqlc.arg(failures) AS INTEGER) >= 10 THEN 'offline' ELSE status END
WHERE id = sqlc.arg(host);

-- name: CoolHost :exec
UPDATE host_queue SET cooldown_until = max(cooldown_until, CAST(sqlc.arg(until) AS INTEGER)) WHERE host_id = sqlc.arg(host);

-- name: SetHostRate :exec
UPDATE host_queue SET rate = sqlc.arg(rate) WHERE host_id = sqlc.arg(host);
