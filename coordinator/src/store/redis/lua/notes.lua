-- Looks at notes, or forgets some. ARGV: time, what, then what it is about. A note: version, the version that it came after,
-- text, when it was written, when it ends. `notes:at` has their keys by when they end, `notes:ix` by name.
local what = ARGV[2]
local notes, ends, names = P .. 'notes', P .. 'notes:at', P .. 'notes:ix'
local _, t = clocks()

local function held(key)
  local packed = call('HGET', notes, key)
  return packed and cmsgpack.unpack(packed)
end

local function told(key, note)
  local function whole(number)
    return string.format('%.0f', number)
  end
  return { key, whole(note[1]), whole(note[2]), note[3], whole(note[4]), whole(note[5]) }
end

local function remove(key)
  call('HDEL', notes, key)
  call('ZREM', ends, key)
  call('ZREM', names, key)
end

if what == 'get' then
  local note = held(ARGV[3])
  return note and note[5] > t and told(ARGV[3], note) or {}
end
if what == 'forget' then
  local old = call('ZRANGEBYSCORE', ends, '-inf', string.format('%.0f', t), 'LIMIT', 0, ARGV[3])
  for _, key in ipairs(old) do
    remove(key)
  end
  return #old
end
-- Those whose keys begin so: beginning, how many, or 'drop'.
local found = {}
for _, key in ipairs(call('ZRANGEBYLEX', names, '[' .. ARGV[3], '[' .. ARGV[3] .. '\255')) do
  if what == 'drop' then
    remove(key)
    found[#found + 1] = key
  elseif #found < tonumber(ARGV[4]) then
    local note = held(key)
    if note[5] > t then
      found[#found + 1] = told(key, note)
    end
  end
end
return what == 'drop' and #found or found
