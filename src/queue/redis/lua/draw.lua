-- Draws one permit apart from any lane, if there is one.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the tenant, or nothing for a bucket that all share
-- ARGV[3] the limit (JSON)
--
-- Gives {1, how many are left, when the window will be empty}, or {0, 0, when the next comes free}.
local tenant, given = ARGV[2], cjson.decode(ARGV[3])
local limit = { given.bucket, given.label, given.count, given.window_ms }
local bucket = bucket_of(tenant, limit)
widen(bucket, limit)
keep_wanted()
local left = room(tenant, limit, math.huge)
if left == 0 then return { 0, 0, math.max(opens_at(tenant, limit), now) } end
draw(bucket, 1)
return { 1, left - 1, now + limit[WINDOW] }
