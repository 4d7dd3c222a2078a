-- Counts leased jobs and open studies again, and who waits; how many counters were wrong. ARGV: time.
local right = { leased = {}, open = { ['*'] = 0 } }
for _, member in ipairs(call('ZRANGE', P .. 'leases', 0, -1)) do
  local uid, n, kind = parse(member)
  local job = get_job(uid, n)
  if job then
    local field = kind .. ' ' .. job[TENANT]
    right.leased[field] = (right.leased[field] or 0) + 1
  end
end
for state in pairs(OPEN) do
  for _, uid in ipairs(call('ZRANGE', P .. 'ix:s:' .. state, 0, -1)) do
    local tenant = call('HGET', P .. 's:' .. uid, 'tenant')
    right.open[tenant] = (right.open[tenant] or 0) + 1
    right.open['*'] = right.open['*'] + 1
  end
end
local wrong = 0
for name, counts in pairs(right) do
  local held = call('HGETALL', P .. name)
  for place = 1, #held, 2 do
    counts[held[place]] = counts[held[place]] or 0
  end
  for field, count in pairs(counts) do
    if tonumber(call('HGET', P .. name, field) or 0) ~= count then
      call('HSET', P .. name, field, count)
      wrong = wrong + 1
    end
  end
end
for _, tenant in ipairs(call('HKEYS', P .. 'open')) do
  for _, kind in ipairs({ 'x', 'c', 'm' }) do
    local has = call('EXISTS', P .. 'q:' .. kind .. ':' .. tenant)
    if has ~= call('SISMEMBER', P .. 'waiting:' .. kind, tenant) then
      call(has == 1 and 'SADD' or 'SREM', P .. 'waiting:' .. kind, tenant)
      wrong = wrong + 1
    end
  end
end
return wrong
