-- The embedded queue: one SQLite file, shared by the processes of one host.
--
-- Moments are milliseconds of the queue's own clock (see `meta`). Numbers that say who is next
-- (`turn`) are drawn from one counter per queue: the smallest is served first, and whoever was
-- served gets the next number, so that turns go on over calls and processes.
--
-- A lane is one of
--   idle   nothing in it can be claimed until something happens: it is empty, paused or full
--   later  something may be claimed from `next_at` on, and not before
--   ready  something may be claimed now
-- so that a claim reads index ranges of ready lanes and due ones, never the backlog. Triggers keep
-- the counters; nothing else writes them.

-- One row: the clock and the number of the last change.
CREATE TABLE meta (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    version      INTEGER NOT NULL,           -- rises with every change; what `Seen` holds
    boot_id      TEXT    NOT NULL,           -- the boot of the host for which the offset holds
    clock_offset INTEGER NOT NULL,           -- now = milliseconds since boot + this
    last_seen    INTEGER NOT NULL            -- the last moment at which anything was written
) STRICT;

CREATE TABLE queues (
    name   TEXT    PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    turn   INTEGER NOT NULL DEFAULT 0,       -- the last turn number drawn
    woken  INTEGER NOT NULL DEFAULT 0        -- the version at which something last became claimable
) STRICT, WITHOUT ROWID;

CREATE TABLE tenants (
    queue       TEXT    NOT NULL,
    tenant      TEXT    NOT NULL,
    turn        INTEGER NOT NULL,
    ready_lanes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (queue, tenant)
) STRICT, WITHOUT ROWID;
CREATE INDEX tenants_in_turn ON tenants (queue, turn) WHERE ready_lanes > 0;

CREATE TABLE lanes (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    queue        TEXT    NOT NULL,
    tenant       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    policy       TEXT,                       -- JSON; NULL until a job brings one
    paused       INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    parked_until INTEGER,                    -- somebody parked it; limits are never written here
    park_reason  TEXT,                       -- JSON
    turn         INTEGER NOT NULL,
    state        TEXT    NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'later', 'ready')),
    next_at      INTEGER,                    -- only while `later`
    waiting      INTEGER NOT NULL DEFAULT 0,
    running      INTEGER NOT NULL DEFAULT 0,
    jobs         INTEGER NOT NULL DEFAULT 0, -- finished ones included
    CHECK ((state = 'later') = (next_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX lanes_by_name ON lanes (queue, tenant, name);
CREATE INDEX lanes_in_turn ON lanes (queue, tenant, turn) WHERE state = 'ready';
CREATE INDEX lanes_by_moment ON lanes (queue, next_at) WHERE state = 'later';
CREATE INDEX lanes_empty ON lanes (id) WHERE jobs = 0;

CREATE TRIGGER lanes_ready AFTER UPDATE OF state ON lanes
WHEN (new.state = 'ready') <> (old.state = 'ready')
BEGIN
    UPDATE tenants
       SET ready_lanes = ready_lanes + CASE new.state WHEN 'ready' THEN 1 ELSE -1 END
     WHERE queue = new.queue AND tenant = new.tenant;
END;

-- `waiting` is shown as `scheduled` before `run_at` and as `queued` from then on: a job becomes due
-- without anybody touching it. Lanes are served by priority, then by when a job became due, then by
-- arrival, which is what the index `jobs_in_run_order` spells.
CREATE TABLE jobs (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of arrival
    id               TEXT    NOT NULL,
    tenant           TEXT    NOT NULL,
    kind             TEXT    NOT NULL,
    queue            TEXT    NOT NULL,
    lane             INTEGER NOT NULL REFERENCES lanes (id),
    state            TEXT    NOT NULL DEFAULT 'waiting'
                     CHECK (state IN ('waiting', 'processing', 'completed', 'failed', 'cancelled')),
    priority         INTEGER NOT NULL CHECK (priority IN (0, 1, 2)),
    run_at           INTEGER NOT NULL,
    wait             TEXT    NOT NULL CHECK (wait IN ('turn', 'schedule', 'retry', 'snooze')),
    wait_reason      TEXT,
    due_at           INTEGER NOT NULL,
    attempt          INTEGER NOT NULL DEFAULT 0,
    max_attempts     INTEGER NOT NULL,
    crashes          INTEGER NOT NULL DEFAULT 0,
    fence            INTEGER NOT NULL DEFAULT 0,
    lease_until      INTEGER,
    worker           TEXT,
    items            INTEGER NOT NULL,
    cursor           TEXT,                   -- JSON
    result           TEXT,                   -- JSON
    skipped          TEXT,
    error            TEXT,                   -- JSON
    cancelled_by     TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    retryable        INTEGER NOT NULL DEFAULT 0 CHECK (retryable IN (0, 1)),
    unique_key       TEXT,
    tags             TEXT    NOT NULL,       -- JSON
    request_id       TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    started_at       INTEGER,
    completed_at     INTEGER,
    version          INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX jobs_by_id ON jobs (id);
CREATE INDEX jobs_by_tenant ON jobs (tenant, id);
CREATE INDEX jobs_in_run_order ON jobs (lane, priority, run_at) WHERE state = 'waiting';
CREATE INDEX jobs_due ON jobs (queue, run_at) WHERE state = 'waiting';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE state = 'processing';
CREATE INDEX jobs_finished ON jobs (state, completed_at)
 WHERE state IN ('completed', 'failed', 'cancelled');
CREATE INDEX jobs_dead ON jobs (tenant, completed_at) WHERE state = 'failed';
CREATE UNIQUE INDEX jobs_unique ON jobs (tenant, kind, unique_key)
 WHERE unique_key IS NOT NULL AND state IN ('waiting', 'processing');

-- Apart from `jobs`, so that moving a job does not write its payload again.
CREATE TABLE payloads (
    job  INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    body BLOB    NOT NULL
) STRICT;

-- One row per claim.
CREATE TABLE attempts (
    job        INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    fence      INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    outcome    TEXT,
    error      TEXT,                         -- JSON
    worker     TEXT    NOT NULL,
    PRIMARY KEY (job, fence)
) STRICT, WITHOUT ROWID;

-- How many jobs of a queue are in each state.
CREATE TABLE tallies (
    queue TEXT    NOT NULL,
    state TEXT    NOT NULL,
    jobs  INTEGER NOT NULL,
    PRIMARY KEY (queue, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER jobs_arrive AFTER INSERT ON jobs
BEGIN
    UPDATE lanes SET waiting = waiting + 1, jobs = jobs + 1 WHERE id = new.lane;
    INSERT INTO tallies (queue, state, jobs) VALUES (new.queue, new.state, 1)
        ON CONFLICT (queue, state) DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER jobs_move AFTER UPDATE OF state ON jobs WHEN new.state <> old.state
BEGIN
    UPDATE lanes
       SET waiting = waiting + (new.state = 'waiting') - (old.state = 'waiting'),
           running = running + (new.state = 'processing') - (old.state = 'processing')
     WHERE id = new.lane;
    UPDATE tallies SET jobs = jobs - 1 WHERE queue = old.queue AND state = old.state;
    INSERT INTO tallies (queue, state, jobs) VALUES (new.queue, new.state, 1)
        ON CONFLICT (queue, state) DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER jobs_leave AFTER DELETE ON jobs
BEGIN
    UPDATE lanes SET jobs = jobs - 1 WHERE id = old.lane;
    UPDATE tallies SET jobs = jobs - 1 WHERE queue = old.queue AND state = old.state;
END;

-- What limits count. `keep_ms` is the longest window that ever counted the bucket.
CREATE TABLE buckets (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant  TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    keep_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX buckets_by_name ON buckets (tenant, name);

CREATE TABLE lane_buckets (
    lane   INTEGER NOT NULL REFERENCES lanes (id) ON DELETE CASCADE,
    bucket INTEGER NOT NULL REFERENCES buckets (id),
    PRIMARY KEY (lane, bucket)
) STRICT, WITHOUT ROWID;
CREATE INDEX lane_buckets_by_bucket ON lane_buckets (bucket);

-- One row per permit; `job` and `fence` name the claim that drew it, if one did. Jobs may be gone
-- long before their permits: a window counts what was done, not what is remembered.
CREATE TABLE permits (
    id         INTEGER PRIMARY KEY,
    bucket     INTEGER NOT NULL REFERENCES buckets (id),
    at         INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    job        INTEGER,
    fence      INTEGER
) STRICT;
CREATE INDEX permits_in_time ON permits (bucket, at);
CREATE INDEX permits_spent ON permits (expires_at);
CREATE INDEX permits_by_claim ON permits (job, fence) WHERE job IS NOT NULL;

-- Submissions that are remembered by their key.
CREATE TABLE submissions (
    tenant      TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    answer      BLOB    NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX submissions_expired ON submissions (expires_at);
