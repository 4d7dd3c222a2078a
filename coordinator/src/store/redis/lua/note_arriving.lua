-- Notes something about how a study arrives. ARGV: time, study, what ('begun', 'ended' or 'expected'), then the
-- association, its sender and the most of both that are kept, or the association and how it ended, or how many instances.
local uid, what, about = ARGV[2], ARGV[3], ARGV[4]
local study = P .. 's:' .. uid
if call('EXISTS', study) == 0 then
  return { 'study' }
end
local wall, t = clocks()
local is_news = false

-- Notes a name in a field of its own, where there are not too many of its kind.
local function note(prefix, name, most)
  if call('HEXISTS', study, prefix .. name) == 1 then
    return
  end
  local count = 0
  for _, field in ipairs(call('HKEYS', study)) do
    if string.sub(field, 1, #prefix) == prefix then
      count = count + 1
    end
  end
  if count < tonumber(most) then
    call('HSET', study, prefix .. name, '')
    is_news = true
  end
end

if what == 'begun' then
  note('by:', ARGV[5], ARGV[7])
  note('as:', about, ARGV[6])
elseif what == 'ended' then
  is_news = call('HDEL', study, 'as:' .. about) == 1
  if is_news and ARGV[5] == 'whole' then
    call('HSET', study, 'ended', t)
  elseif is_news then
    call('HDEL', study, 'ended')
  end
elseif call('HGET', study, 'expected') ~= about then
  call('HSET', study, 'expected', about)
  is_news = true
end
if not is_news then
  return { 'before' }
end
call('HINCRBY', study, 'changes', '1')
call('HSET', study, 'updated', wall)
return { 'now' }
