-- Where a tenant's events go, and what became of each.

CREATE TABLE endpoints (
    tenant        TEXT   NOT NULL REFERENCES tenants (id),
    id            TEXT   NOT NULL,
    description   TEXT,
    format        TEXT   NOT NULL CHECK (format IN ('standard', 'slack')),
    confidential  TEXT   NOT NULL,                          -- sealed JSON: URL, headers, secrets
    events        TEXT   NOT NULL,                          -- JSON list of subscriptions
    signature     TEXT,                                     -- JSON: the second signature header
    rate          TEXT,                                     -- such as 10/s
    disabled      TEXT,                                     -- why; NULL: it is enabled
    failing_since BIGINT,                                   -- since then no attempt succeeded
    circuit_until BIGINT,                                   -- open until then, then half open
    probe_until   BIGINT,                                   -- the probe under way is lost by then
    counted_from  BIGINT NOT NULL DEFAULT 0,                -- attempts before do not open the circuit
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE deliveries (
    tenant     TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    endpoint   TEXT   NOT NULL,
    message_id TEXT   NOT NULL,
    event      TEXT   NOT NULL,
    body       TEXT   NOT NULL,                             -- JSON, as it is signed and sent
    state      TEXT   NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE INDEX deliveries_of_endpoint ON deliveries (tenant, endpoint, created_at);
CREATE INDEX deliveries_by_age ON deliveries (created_at);
-- For replaying what failed.
CREATE INDEX deliveries_failed ON deliveries (tenant, endpoint, created_at) WHERE state = 'failed';

CREATE TABLE delivery_attempts (
    tenant        TEXT   NOT NULL,
    delivery      TEXT   NOT NULL,
    number        BIGINT NOT NULL,
    endpoint      TEXT   NOT NULL,
    cause         TEXT   NOT NULL CHECK (cause IN ('scheduled', 'manual', 'replay')),
    at            BIGINT NOT NULL,
    ok            BIGINT NOT NULL CHECK (ok IN (0, 1)),
    dns_ms        BIGINT,
    connect_ms    BIGINT,
    first_byte_ms BIGINT,
    total_ms      BIGINT NOT NULL,
    remote        TEXT,
    status        BIGINT,
    class         TEXT,                                     -- why there was no answer
    words         TEXT   NOT NULL,                          -- the answer's beginning, or the failure's
    next_at       BIGINT,
    PRIMARY KEY (tenant, delivery, number)
);

CREATE INDEX delivery_attempts_of_endpoint ON delivery_attempts (tenant, endpoint, at);
