-- How far each entry of the crontab has got: up to `last_tick`, in milliseconds, its ticks have been
-- dealt with. What makes a tick fire once is its key in the queue; this is what a scheduler that
-- starts need not look at again.

CREATE TABLE crontab_ticks (
    tenant    TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    last_tick BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);
