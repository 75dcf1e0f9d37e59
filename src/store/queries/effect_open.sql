-- Takes the entry of an effect for a run, in one statement: of many runs at once one gets it.
-- $1 tenant, $2 effect key, $3 job, $4 fence, $5 now, $6 untouched since before then is stale
-- Answers the state that the entry has now, or no row when it is not to be had.
INSERT INTO effects (tenant, effect_key, state, job, fence, created_at, updated_at)
VALUES ($1, $2, 'intent', $3, $4, $5, $5)
ON CONFLICT (tenant, effect_key) DO UPDATE SET
    -- Left past the point of no return: nobody knows. The run that left it stays its holder, and
    -- may still write what it learns.
    state = CASE effects.state WHEN 'dispatching' THEN 'unknown' ELSE 'intent' END,
    job = CASE effects.state WHEN 'dispatching' THEN effects.job ELSE excluded.job END,
    fence = CASE effects.state WHEN 'dispatching' THEN effects.fence ELSE excluded.fence END,
    receipt = NULL,
    updated_at = excluded.updated_at
WHERE effects.state IN ('intent', 'refused', 'dispatching')
  AND ((effects.job = excluded.job AND effects.fence <= excluded.fence)
    OR (effects.job <> excluded.job AND effects.updated_at <= $6))
RETURNING state
