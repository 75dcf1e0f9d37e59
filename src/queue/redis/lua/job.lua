-- Reads one job.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the job's id
--
-- Gives {time} when it is not there, else {time, {its state, and what holds its lane back (JSON), its
-- fixed part (JSON)}}.
return { now, views_of({ ARGV[2] })[1] }
