-- Whose everything is, and who may ask for them.
-- Times are milliseconds since the Unix epoch, UTC, in every table.

CREATE TABLE tenants (
    id         TEXT   NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id           TEXT   NOT NULL PRIMARY KEY,               -- the key's 8 characters that name it
    tenant       TEXT   NOT NULL REFERENCES tenants (id),
    environment  TEXT   NOT NULL CHECK (environment IN ('live', 'test')),
    label        TEXT,                                      -- the operator's words for it
    hash         TEXT   NOT NULL,                           -- HMAC-SHA256 of the key, base64
    scopes       TEXT   NOT NULL,                           -- JSON list of texts
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT
);

CREATE INDEX api_keys_of_tenant ON api_keys (tenant);
