-- Writes how an effect ended, if the entry is still this run's.
-- $1 tenant, $2 effect key, $3 job, $4 fence, $5 state, $6 receipt, $7 now
-- `unknown` may still become what the run itself learned; a refusal may come before the point of no
-- return; nothing is accepted that was not dispatched.
UPDATE effects SET state = $5, receipt = $6, updated_at = $7
WHERE tenant = $1 AND effect_key = $2 AND job = $3 AND fence = $4
  AND (state IN ('dispatching', 'unknown') OR (state = 'intent' AND $5 = 'refused'))
