-- Dead letters after a member, in order: member, record and failures of each. ARGV: time, limit, the member or ''.
local from = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local found = {}
for _, member in ipairs(call('ZRANGEBYLEX', P .. 'dead', from, '+', 'LIMIT', 0, ARGV[2])) do
  local uid, n = parse(member)
  local job = call('HMGET', P .. 'j:' .. uid, n, 'f' .. n)
  if job[1] then
    found[#found + 1] = { member, job[1], job[2] or '' }
  end
end
return found
