-- The ledger of effects: what was done to the world, so that it is not done twice.
-- `intent -> dispatching -> accepted | refused | unknown`; `job` and `fence` name the run that holds
-- the entry.

CREATE TABLE effects (
    tenant     TEXT   NOT NULL,
    effect_key TEXT   NOT NULL,
    state      TEXT   NOT NULL
               CHECK (state IN ('intent', 'dispatching', 'accepted', 'refused', 'unknown')),
    job        TEXT   NOT NULL,
    fence      BIGINT NOT NULL,
    receipt    TEXT,                                        -- JSON
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, effect_key)
);

-- For the list of what only a person can settle.
CREATE INDEX effects_unknown ON effects (tenant, updated_at) WHERE state = 'unknown';
