-- How mailboxes are to be warmed up. A mailbox without a row is not. The defaults are those of
-- `WarmupSettings`; a row goes with its mailbox.

CREATE TABLE warmup_settings (
    tenant                     TEXT   NOT NULL,
    name                       TEXT   NOT NULL,              -- the mailbox'
    enabled                    BIGINT NOT NULL DEFAULT 0 CHECK (enabled IN (0, 1)),
    warmup_type                TEXT   NOT NULL DEFAULT 'normal'
                               CHECK (warmup_type IN ('slow', 'normal', 'fast')),
    warmup_target_daily_volume BIGINT NOT NULL DEFAULT 40
                               CHECK (warmup_target_daily_volume BETWEEN 1 AND 200),
    reply_rate_percent         BIGINT NOT NULL DEFAULT 30
                               CHECK (reply_rate_percent BETWEEN 0 AND 100),
    time_zone                  TEXT   NOT NULL DEFAULT 'UTC', -- of the mailbox' day
    created_at                 BIGINT NOT NULL,
    updated_at                 BIGINT NOT NULL,
    PRIMARY KEY (tenant, name),
    FOREIGN KEY (tenant, name) REFERENCES mailboxes (tenant, name) ON DELETE CASCADE
);
