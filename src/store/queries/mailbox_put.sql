-- Makes a mailbox, or replaces everything about it but when it was made.
-- $1 tenant, $2 name, $3 address, $4 display name, $5 transport, $6 host, $7 port, $8 security,
-- $9 username, $10 password (sealed), $11 limits, $12 enabled, $13 now
INSERT INTO mailboxes (tenant, name, address, display_name, transport, host, port, security,
                       username, password, limits, enabled, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
ON CONFLICT (tenant, name) DO UPDATE SET
    address = excluded.address,
    display_name = excluded.display_name,
    transport = excluded.transport,
    host = excluded.host,
    port = excluded.port,
    security = excluded.security,
    username = excluded.username,
    password = excluded.password,
    limits = excluded.limits,
    enabled = excluded.enabled,
    refused_logins = 0,
    refusal = NULL,
    updated_at = excluded.updated_at
