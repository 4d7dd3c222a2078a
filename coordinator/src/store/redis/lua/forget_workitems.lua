-- Forgets workitems that are over. ARGV: time, age in ms, age of those that are locked, how many at most.
local wall = clocks()
local limit, forgotten = tonumber(ARGV[4]), 0
local old = call('ZRANGEBYSCORE', P .. 'wover', '-inf', '(' .. string.format('%.0f', wall - ARGV[2]), 'LIMIT', 0, limit)
for _, uid in ipairs(old) do
  local held = call('HMGET', P .. 'w:' .. uid, 'tenant', 'updated', 'locked')
  if held[3] ~= '1' or tonumber(held[2]) < wall - math.max(ARGV[2], ARGV[3]) then
    call('DEL', P .. 'w:' .. uid)
    call('ZREM', P .. 'wover', uid)
    call('ZREM', P .. 'wl', uid)
    call('ZREM', P .. 'wl:' .. held[1], uid)
    forgotten = forgotten + 1
  end
end
return forgotten
