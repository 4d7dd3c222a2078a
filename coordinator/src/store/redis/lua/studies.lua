-- A part of a listing of studies, newest first. ARGV: time, listing, its value, how many studies, then, where it goes on
-- from one, when that was received and its uid.
local key = P .. 'ix:' .. ARGV[2]
if ARGV[2] == 'p:' or ARGV[2] == 'a:' or ARGV[2] == 'd:' then
  key = key .. redis.sha1hex(ARGV[3])
else
  key = key .. ARGV[3]
end
local limit, after, after_uid = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local from = after and '-' .. after or '-inf'
local found, offset = {}, 0
while #found < limit do
  local page = call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', offset, limit)
  for place = 1, #page, 2 do
    local uid = page[place]
    local is_past = not after or tonumber(page[place + 1]) > -after or uid > after_uid
    if is_past and #found < limit then
      found[#found + 1] = { uid, call('HGETALL', P .. 's:' .. uid) }
    end
  end
  offset = offset + limit
  if #page < 2 * limit then
    break
  end
end
return found
