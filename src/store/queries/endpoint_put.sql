-- Makes an endpoint, or replaces everything that an operator says about it. Its health begins anew.
-- $1 tenant, $2 id, $3 description, $4 format, $5 confidential (sealed), $6 events, $7 signature,
-- $8 rate, $9 why it is disabled, $10 now
INSERT INTO endpoints (tenant, id, description, format, confidential, events, signature, rate,
                       disabled, counted_from, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $10)
ON CONFLICT (tenant, id) DO UPDATE SET
    description = excluded.description,
    format = excluded.format,
    confidential = excluded.confidential,
    events = excluded.events,
    signature = excluded.signature,
    rate = excluded.rate,
    disabled = excluded.disabled,
    failing_since = NULL,
    circuit_until = NULL,
    probe_until = NULL,
    counted_from = excluded.counted_from,
    updated_at = excluded.updated_at
