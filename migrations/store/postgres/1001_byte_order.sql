-- Pages of prospects come in the order of their names: by bytes, as SQLite compares, not by the
-- language of whoever installed the database.

ALTER TABLE prospects ALTER COLUMN name TYPE TEXT COLLATE "C";
