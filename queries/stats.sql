-- name: RepoTally :many
SELECT state, repos, active FROM repo_tally;

-- name: QueueTally :many
SELECT background, waiting FROM queue_tally;

-- name: MembershipTally :one
SELECT CAST(coalesce(sum(members), 0) AS INTEGER) AS memberships, count(*) AS collections
FROM collection WHERE members > 0;
