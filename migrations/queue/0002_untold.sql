-- Whom the end of a job is told to, and whether it was.

ALTER TABLE jobs ADD COLUMN callback TEXT;   -- JSON list of endpoints; NULL: nobody
ALTER TABLE jobs ADD COLUMN told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1));

CREATE INDEX jobs_untold ON jobs (completed_at)
 WHERE callback IS NOT NULL AND told = 0 AND completed_at IS NOT NULL;
