-- Gives permits back of a bucket that all tenants share.
--
-- KEYS[1] the shard of the bucket
-- ARGV[1] the time
-- ARGV[2] the bucket
-- ARGV[3] when they were drawn
-- ARGV[4…] their names
--
-- Gives how many of them counted still.
local bucket, back = bucket_of('', { ARGV[2] }), 0
for at = 4, #ARGV do
  if give_back(bucket, ARGV[at], tonumber(ARGV[3])) then back = back + 1 end
end
return back
