-- Draws permits of one bucket that all tenants share, as many as all its limits admit.
--
-- KEYS[1] the shard of the bucket
-- ARGV[1] the time
-- ARGV[2] its limits (JSON), all of the same bucket
-- ARGV[3] how many permits
--
-- Gives {the time, how many were drawn; and if that is not all: when the next comes free, the label of
-- the limit that is the last to admit it}.
local NOBODY, limits, want = '', {}, tonumber(ARGV[3])
local left = want
for i, given in ipairs(cjson.decode(ARGV[2])) do
  local limit = { given.bucket, given.label, given.count, given.window_ms }
  limits[i] = limit
  widen(bucket_of(NOBODY, limit), limit)
end
keep_wanted()
for _, limit in ipairs(limits) do left = math.min(left, room(NOBODY, limit, want)) end
if left > 0 then draw(bucket_of(NOBODY, limits[1]), left) end
if left == want then return { now, left } end
local till, label = now, ''
for _, limit in ipairs(limits) do
  local at = opens_at(NOBODY, limit)
  if at > till then till, label = at, limit[LABEL] end
end
return { now, left, till, label }
