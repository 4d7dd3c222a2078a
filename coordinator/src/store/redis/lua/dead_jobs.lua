-- Dead letters after a member, in order: member, record and failures of each. ARGV: time, limit, the member or ''.
local from = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local found = {}
for _, member in ipairs(call('ZRANGEBYLEX', P .. 'dead', from, '+', 'LIMIT', 0, ARGV[2])) do
  local uid, n = parse(member)
  local record = call('HGET', P .. 'j:' .. uid, n)
  if record then
    found[#found + 1] = { member, record, call('HGET', P .. 'f:' .. uid, n) or '' }
  end
end
return found
