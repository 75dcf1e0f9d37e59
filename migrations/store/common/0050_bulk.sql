-- How far bulk jobs have got, and what was wrong with single items of them.
-- Where the records lie in this store, the account is written in the transaction that changes them.

CREATE TABLE bulk_runs (
    tenant     TEXT   NOT NULL,
    job        TEXT   NOT NULL,
    resource   TEXT   NOT NULL,
    fence      BIGINT NOT NULL,                             -- of the run that may write
    total      BIGINT,                                      -- NULL: nobody has counted yet
    processed  BIGINT NOT NULL DEFAULT 0,
    failed     BIGINT NOT NULL DEFAULT 0,
    chunk      BIGINT NOT NULL DEFAULT 0,                   -- chunks done
    position   TEXT,                                        -- the last record of a filter's walk
    planned    TEXT,                                        -- JSON: the chunk that was begun
    changed    TEXT,                                        -- JSON: what the last chunk changed
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, job)
);

CREATE INDEX bulk_runs_by_age ON bulk_runs (updated_at);

CREATE TABLE bulk_errors (
    tenant  TEXT   NOT NULL,
    job     TEXT   NOT NULL,
    ordinal BIGINT NOT NULL,                                -- the item's number, from 0
    item_id TEXT   NOT NULL,
    code    TEXT   NOT NULL,
    message TEXT   NOT NULL,
    PRIMARY KEY (tenant, job, ordinal)
);
