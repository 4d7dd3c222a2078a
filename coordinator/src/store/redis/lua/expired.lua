-- Leases that have run out, the oldest first: member, token and attempt of each. ARGV: time, limit.
local _, t = clocks()
local found = {}
for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'leases', '-inf', t, 'LIMIT', 0, ARGV[2])) do
  local uid, n = parse(member)
  local job = get_job(uid, n)
  if job then
    found[#found + 1] = { member, job[TOKEN], job[ATTEMPTS] }
  end
end
return found
