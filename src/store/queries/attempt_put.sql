-- Writes an attempt down; the same again, by a run that lost its lease, changes nothing.
-- $1 tenant, $2 delivery, $3 number, $4 endpoint, $5 cause, $6 at, $7 ok, $8 dns, $9 connect,
-- $10 first byte, $11 total (ms), $12 remote, $13 status, $14 class, $15 words, $16 next at
INSERT INTO delivery_attempts (tenant, delivery, number, endpoint, cause, at, ok, dns_ms, connect_ms,
                               first_byte_ms, total_ms, remote, status, class, words, next_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (tenant, delivery, number) DO NOTHING
