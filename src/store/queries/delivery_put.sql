-- Writes a delivery down as it stands. What was written first of its content stays.
-- $1 tenant, $2 id, $3 endpoint, $4 message id, $5 event, $6 body, $7 state, $8 attempts, $9 now
INSERT INTO deliveries (tenant, id, endpoint, message_id, event, body, state, attempts,
                        created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
ON CONFLICT (tenant, id) DO UPDATE SET
    state = excluded.state,
    attempts = excluded.attempts,
    updated_at = excluded.updated_at
