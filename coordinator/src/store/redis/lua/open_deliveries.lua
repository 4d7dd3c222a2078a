-- Deliveries to a destination that are not over. ARGV: time, destination, how many at most. Of each: study, field, record.
local destination = ARGV[2]
local open = {}
for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'due:' .. destination, '-inf', '+inf', 'LIMIT', 0, ARGV[3])) do
  local uid, version, object = string.match(member, '^(%S+) 0*(%d+) (%S+)$')
  local field = version .. ' ' .. destination .. ' ' .. object
  open[#open + 1] = { uid, field, call('HGET', P .. 'dl:' .. uid, field) }
end
return open
