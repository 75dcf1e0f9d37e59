-- Keys that outlive the secret key, sealed by it: the pepper of API keys.

CREATE TABLE vault (
    name   TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL
);
