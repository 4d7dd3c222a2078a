-- Writes a note. ARGV: time, key, text, the version that it comes after (empty for whichever), how long it lasts, how many
-- there may be. What a note is: notes.lua.
local key, text, after, most = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[6])
local notes = P .. 'notes'
local _, t = clocks()
local packed = call('HGET', notes, key)
local note = packed and cmsgpack.unpack(packed)
local there = note and note[5] > t and note
local version = there and there[1] or 0
if after and after ~= version then
  local again = there and there[3] == text and there[2] == after
  return { again and 'now' or 'changed', string.format('%.0f', version) }
end
if not note and call('HLEN', notes) >= most then
  return { 'many' }
end
local new = math.max((note and note[1] or 0) + 1, t)
local ending = t + ARGV[5]
call('HSET', notes, key, cmsgpack.pack({ new, version, text, t, ending }))
call('ZADD', P .. 'notes:at', string.format('%.0f', ending), key)
call('ZADD', P .. 'notes:ix', 0, key)
return { 'now', string.format('%.0f', new) }
