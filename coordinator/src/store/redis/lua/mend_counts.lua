-- Counts open studies again, and who waits; how many counters were wrong. ARGV: time.
local right = {}
for _, listing in ipairs({ 'arriving', 'working' }) do
  for _, uid in ipairs(call('ZRANGE', P .. 'ix:s:' .. listing, 0, -1)) do
    local tenant = call('HGET', P .. 's:' .. uid, 'tenant')
    right[tenant] = (right[tenant] or 0) + 1
  end
end
local held = call('HGETALL', P .. 'open')
for place = 1, #held, 2 do
  right[held[place]] = right[held[place]] or 0
end
local wrong = 0
for tenant, count in pairs(right) do
  if tonumber(call('HGET', P .. 'open', tenant) or -1) ~= count then
    call('HSET', P .. 'open', tenant, count)
    wrong = wrong + 1
  end
  for kind in string.gmatch('xcma', '%a') do
    -- Who has nothing waiting is noted by the next lease.
    local waits = call('EXISTS', P .. queue_of(kind, tenant)) == 1
    if waits and call('SADD', P .. 'waiting', kind .. ' ' .. tenant) == 1 then
      wrong = wrong + 1
    end
  end
end
return wrong
