-- Writes a job's account down after a chunk, if it is still this run's and where the run knows it to be.
-- $1 tenant, $2 job, $3 fence, $4 the chunk before, $5 processed, $6 failed, $7 position,
-- $8 changed (JSON), $9 now
UPDATE bulk_runs SET
    processed = $5,
    failed = $6,
    chunk = $4 + 1,
    position = $7,
    planned = NULL,
    changed = $8,
    updated_at = $9
WHERE tenant = $1 AND job = $2 AND fence = $3 AND chunk = $4
