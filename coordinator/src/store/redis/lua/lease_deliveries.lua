-- Leases deliveries that are due. ARGV: time, destination, ttl in ms, how many at most. Of each: study, field, record.
local destination, ttl, limit = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local due = P .. 'due:' .. destination
if call('EXISTS', due) == 0 then
  return {}
end
local wall, t = clocks()
local leased = {}
for _, member in ipairs(call('ZRANGEBYSCORE', due, '-inf', string.format('%.0f', t), 'LIMIT', 0, limit)) do
  local uid, version, object = string.match(member, '^(%S+) 0*(%d+) (%S+)$')
  local field = version .. ' ' .. destination .. ' ' .. object
  local record = get_delivery(uid, field)
  record[SENT_STATE], record[SENT_ATTEMPTS] = 'sending', record[SENT_ATTEMPTS] + 1
  record[SENT_TOKEN], record[SENT_DUE], record[SENT_UPDATED] = call('INCR', P .. 'token'), t + ttl, wall
  put_delivery(uid, field, record)
  leased[#leased + 1] = { uid, field, cmsgpack.pack(record) }
end
return leased
