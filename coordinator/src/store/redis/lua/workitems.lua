-- A part of a listing of workitems, in order of creation. ARGV: time, listing, how many, then, where it goes on from one,
-- when that was created and its uid.
local key, limit, after, after_uid = P .. ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local found, offset = {}, 0
while #found < limit do
  local page = call('ZRANGEBYSCORE', key, after or '-inf', '+inf', 'WITHSCORES', 'LIMIT', offset, limit)
  for place = 1, #page, 2 do
    local uid = page[place]
    local is_past = not after or tonumber(page[place + 1]) > tonumber(after) or uid > after_uid
    if is_past and #found < limit then
      found[#found + 1] = { uid, call('HMGET', P .. 'w:' .. uid, 'tenant', 'version', 'created', 'updated', 'record') }
    end
  end
  offset = offset + limit
  if #page < 2 * limit then
    break
  end
end
return found
