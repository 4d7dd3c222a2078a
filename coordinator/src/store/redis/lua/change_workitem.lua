-- Puts the next version of a workitem in place. ARGV: time, uid, version that was looked at, whether it is open, whether
-- prelim has something to do for it, whether it is locked, its record, then the reports of it.
local uid, version, record = ARGV[2], tonumber(ARGV[3]), ARGV[7]
local key = P .. 'w:' .. uid
local held = call('HMGET', key, 'version', 'tenant', 'record', 'open', 'created')
if not held[1] then
  return { 'none' }
end
if tonumber(held[1]) == version + 1 and held[3] == record then
  return { 'before' }
end
if tonumber(held[1]) ~= version then
  return { 'changed' }
end
local wall = clocks()
call('HSET', key, 'version', version + 1, 'updated', wall, 'open', ARGV[4], 'locked', ARGV[6], 'record', record)
call('HINCRBY', P .. 'wopen', held[2], ARGV[4] - held[4])
if ARGV[4] == '0' then
  call('ZADD', P .. 'wover', wall, uid)
else
  call('ZREM', P .. 'wover', uid)
end
if ARGV[5] == '1' then
  call('ZADD', P .. 'wdo', held[5], uid)
else
  call('ZREM', P .. 'wdo', uid)
end
tell_worklist(8)
return { 'now' }
