-- name: CreateMeta :exec
INSERT INTO meta (one, index_id, next_seq, created_at, created_by, opened_by)
VALUES (1, sqlc.arg(index_id), 1, sqlc.arg(now), sqlc.arg(version), sqlc.arg(version));

-- name: Meta :one
SELECT index_id, next_seq, created_by FROM meta WHERE one = 1;

-- name: OpenedBy :exec
UPDATE meta SET opened_by = sqlc.arg(version), next_seq = sqlc.arg(next_seq), index_id = sqlc.arg(index_id) WHERE one = 1;

-- A start that died before it gave numbers has left a row of the same first number.
-- name: AddSeqLeap :exec
INSERT INTO seq_leap (first_seq, last_seq) VALUES (sqlc.arg(first_seq), sqlc.arg(last_seq))
ON CONFLICT (first_seq) DO UPDATE SET last_seq = excluded.last_seq;

-- name: SetNextSeq :exec
UPDATE meta SET next_seq = sqlc.arg(next_seq) WHERE one = 1;

-- Only the first row of a number counts.
-- name: TickSeqClock :exec
INSERT INTO seq_clock (seq, minute) VALUES (sqlc.arg(seq), sqlc.arg(minute)) ON CONFLICT DO NOTHING;

-- name: LastSeqClock :one
SELECT CAST(coalesce(max(minute), 0) AS INTEGER) AS minute FROM seq_clock
WHERE seq = (SELECT max(k.seq) FROM seq_clock k);
