-- Holds a new workitem. ARGV: time, uid, tenant, most that may be open, whether prelim performs it, whether it is locked,
-- its record, then the reports of it.
local uid, tenant, record = ARGV[2], ARGV[3], ARGV[7]
local key = P .. 'w:' .. uid
local held = call('HMGET', key, 'version', 'tenant', 'record')
if held[1] then
  if held[1] == '1' and held[2] == tenant and held[3] == record then
    return { 'before' }
  end
  return { 'exists' }
end
if tonumber(call('HGET', P .. 'wopen', tenant) or '0') >= tonumber(ARGV[4]) then
  return { 'many' }
end
local wall = clocks()
call('HSET', key, 'version', 1, 'tenant', tenant, 'created', wall, 'updated', wall, 'open', 1, 'record', record)
call('HSET', key, 'locked', ARGV[6])
call('ZADD', P .. 'wl', wall, uid)
call('ZADD', P .. 'wl:' .. tenant, wall, uid)
call('HINCRBY', P .. 'wopen', tenant, 1)
if ARGV[5] == '1' then
  call('ZADD', P .. 'wdo', wall, uid)
end
tell_worklist(8)
return { 'now' }
