-- Whom a tenant writes to, whom it must not write to, and from where it writes.
-- `name` is the address in lower case: addresses that differ only in case are one.

CREATE TABLE mailboxes (
    tenant         TEXT   NOT NULL REFERENCES tenants (id),
    name           TEXT   NOT NULL,
    address        TEXT   NOT NULL,
    display_name   TEXT,
    transport      TEXT   NOT NULL CHECK (transport IN ('file', 'smtp')),
    host           TEXT,
    port           BIGINT,
    security       TEXT   CHECK (security IN ('tls', 'starttls', 'none')),
    username       TEXT,
    password       TEXT,                                    -- sealed
    limits         TEXT   NOT NULL,                         -- JSON list of rates; empty: the default
    enabled        BIGINT NOT NULL CHECK (enabled IN (0, 1)),
    refused_logins BIGINT NOT NULL DEFAULT 0,               -- in a row
    refusal        TEXT,                                    -- the server's words at the last one
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE prospects (
    tenant     TEXT   NOT NULL REFERENCES tenants (id),
    name       TEXT   NOT NULL,
    email      TEXT   NOT NULL,
    first_name TEXT,
    last_name  TEXT,
    company    TEXT,
    time_zone  TEXT,                                        -- IANA
    fields     TEXT   NOT NULL,                             -- JSON object of texts, sorted by key
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE suppressions (
    tenant TEXT   NOT NULL REFERENCES tenants (id),
    name   TEXT   NOT NULL,                                 -- an address, or a domain: @example.com
    reason TEXT   NOT NULL,
    since  BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);
