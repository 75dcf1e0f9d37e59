-- The database of a support desk, as a product has one: what config/samples/resources.toml declares.
-- SQLite and Postgres take it alike:
--
--   sqlite3 desk.sqlite < config/samples/desk.sql
--   psql "$DESK_DATABASE_URL" -f config/samples/desk.sql
--
-- Every record belongs to a tenant: `dev`, or `zoo`, whose records `dev` cannot reach. Moments are
-- milliseconds since 1970.

CREATE TABLE organisations (
    tenant     TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    plan       TEXT NOT NULL DEFAULT 'free' CHECK (plan IN ('free', 'team', 'business')),
    status     TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    note       TEXT,
    updated_at BIGINT,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE contacts (
    tenant       TEXT NOT NULL,
    id           TEXT NOT NULL,
    organisation TEXT,
    name         TEXT,
    email        TEXT,
    country      TEXT,
    score        BIGINT NOT NULL DEFAULT 0 CHECK (score BETWEEN 0 AND 100),
    segment      TEXT,
    subscribed   BOOLEAN NOT NULL DEFAULT TRUE,
    created_at   BIGINT NOT NULL DEFAULT 0,
    updated_at   BIGINT,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE conversations (
    tenant        TEXT NOT NULL,
    id            TEXT NOT NULL,
    contact       TEXT NOT NULL,
    channel       TEXT NOT NULL CHECK (channel IN ('email', 'whatsapp', 'phone')),
    status        TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'snoozed', 'closed')),
    agent         TEXT,
    snoozed_until BIGINT,
    updated_at    BIGINT,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE tickets (
    tenant     TEXT NOT NULL,
    id         TEXT NOT NULL,
    contact    TEXT NOT NULL,
    subject    TEXT NOT NULL,
    status     TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'waiting', 'solved', 'closed')),
    priority   BIGINT NOT NULL DEFAULT 2 CHECK (priority BETWEEN 1 AND 4),
    assignee   TEXT,
    due_at     BIGINT,
    updated_at BIGINT,
    deleted_at BIGINT,
    PRIMARY KEY (tenant, id)
);

INSERT INTO organisations (tenant, id, name, plan) VALUES
    ('dev', 'o-analytical', 'Analytical Engines', 'business'),
    ('dev', 'o-orbits',     'Langley Orbits',     'team'),
    ('dev', 'o-lisp',       'Lisp Lists',         'free'),
    ('dev', 'o-paths',      'Shortest Paths',     'free'),
    ('zoo', 'o-lions',      'Lions & Sons',       'team');

INSERT INTO contacts (tenant, id, organisation, name, email, country, score) VALUES
    ('dev', 'c-ada',       'o-analytical', 'Ada Lovelace',      'ada@analytical.example',   'GB', 91),
    ('dev', 'c-charles',   'o-analytical', 'Charles Babbage',   'charles@analytical.example', 'GB', 64),
    ('dev', 'c-katherine', 'o-orbits',     'Katherine Johnson', 'katherine@langley.example', 'US', 97),
    ('dev', 'c-john',      'o-lisp',       'John McCarthy',     'john@lisp.example',        'US', 40),
    ('dev', 'c-edsger',    'o-paths',      'Edsger Dijkstra',   'edsger@shortest.example',  'NL', 88),
    ('dev', 'c-margaret',  NULL,           'Margaret Hamilton', 'margaret@apollo.example',  'US', 72),
    ('zoo', 'c-leo',       'o-lions',      'Leo Lion',          'leo@lions.example',        'US', 99);

INSERT INTO conversations (tenant, id, contact, channel, status, agent) VALUES
    ('dev', 'v-1', 'c-ada',       'email',    'open',   'grace'),
    ('dev', 'v-2', 'c-katherine', 'whatsapp', 'open',   'grace'),
    ('dev', 'v-3', 'c-edsger',    'phone',    'closed', 'alan'),
    ('zoo', 'v-9', 'c-leo',       'whatsapp', 'open',   'leo');

INSERT INTO tickets (tenant, id, contact, subject, status, priority, assignee) VALUES
    ('dev', 't-101', 'c-ada',       'The mill jams at the second card',    'solved',  3, 'grace'),
    ('dev', 't-102', 'c-charles',   'Invoice for the Difference Engine',   'solved',  2, 'alan'),
    ('dev', 't-103', 'c-katherine', 'Re-entry is four seconds off',        'waiting', 4, 'grace'),
    ('dev', 't-104', 'c-john',      'One parenthesis too few',             'open',    1, NULL),
    ('dev', 't-105', 'c-edsger',    'There is a GOTO in your answer',      'open',    4, 'alan'),
    ('zoo', 't-901', 'c-leo',       'Where is the gazelle?',               'open',    4, 'leo');
