-- Takes a job's account over for a run, unless a later run has it; then there is no row.
-- $1 tenant, $2 job, $3 resource, $4 fence, $5 total or NULL, $6 now
INSERT INTO bulk_runs (tenant, job, resource, fence, total, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $6)
ON CONFLICT (tenant, job) DO UPDATE SET
    fence = excluded.fence,
    total = coalesce(bulk_runs.total, excluded.total),
    updated_at = excluded.updated_at
WHERE bulk_runs.fence <= excluded.fence
RETURNING total, processed, failed, chunk, position, planned, changed
