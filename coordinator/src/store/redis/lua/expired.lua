-- Leases that have run out, the oldest first: member, token and attempt of each. ARGV: time, limit.
local _, t = clocks()
local limit = tonumber(ARGV[2])
local out = {}
for _, tenant in ipairs(call('HKEYS', P .. 'open')) do
  for kind in string.gmatch('xcma', '%a') do
    local key = P .. 'l:' .. kind .. ':' .. tenant
    local page = call('ZRANGEBYSCORE', key, '-inf', t, 'WITHSCORES', 'LIMIT', 0, limit)
    for place = 1, #page, 2 do
      out[#out + 1] = { tonumber(page[place + 1]), page[place] }
    end
  end
end
table.sort(out, function(a, b)
  return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
end)
local found = {}
for place = 1, math.min(#out, limit) do
  local uid, n = parse(out[place][2])
  local job = get_job(uid, n)
  if job then
    found[#found + 1] = { out[place][2], job[TOKEN], job[ATTEMPTS] }
  end
end
return found
