-- name: RepoTally :many
SELECT state, repos, active FROM repo_tally;

-- name: QueueTally :many
SELECT background, waiting FROM queue_tally;

-- name: MembershipTally :one
SELECT memberships, collections FROM collection_tally WHERE one = 1;
