-- Adds instances to a study, or, with ARGV[2] 'preview', says what adding would answer.
-- ARGV: time, mode, study, tenant, priority, limits (open studies, those of the tenant, instances of a study), head starts
-- of routine, urgent and STAT in ms, 14 attributes, bytes of a list of lines, then uid, digest, modality and record of each instance.
local mode, uid, tenant, priority = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local max_open, max_open_of_tenant, max_instances = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local ATTRIBUTES = {
  'a:patient_id', 'a:patient_name', 'a:patient_birth_date', 'a:patient_sex', 'a:accession_number', 'a:study_id',
  'a:study_date', 'a:study_time', 'a:description', 'a:referring_physician', 'a:institution',
  'a:other_names', 'a:other_ids', 'a:places',
}
-- Those that are lists, a line each: what an object adds to them is kept as well.
local LISTS = { ['a:other_names'] = true, ['a:other_ids'] = true, ['a:places'] = true }
local HEAD_START = { routine = ARGV[9], urgent = ARGV[10], stat = ARGV[11] }
local FIRST_ATTRIBUTE = 12
local MAX_LISTED_BYTES = tonumber(ARGV[FIRST_ATTRIBUTE + #ATTRIBUTES])
local FIRST_INSTANCE = FIRST_ATTRIBUTE + #ATTRIBUTES + 1

local study, instances = P .. 's:' .. uid, P .. 'i:' .. uid
local OTHERS = 7
local known = call(
  'HMGET', study, 'state', 'tenant', 'instances', 'modalities', 'priority', 'received', 'changes', unpack(ATTRIBUTES))
local answers, news = { 'ok' }, {}
if known[1] and known[2] ~= tenant then
  for _ = FIRST_INSTANCE, #ARGV, 4 do
    answers[#answers + 1] = 'tenant'
  end
  return answers
end

if known[1] == 'removing' then
  for _ = FIRST_INSTANCE, #ARGV, 4 do
    answers[#answers + 1] = 'removing'
  end
  return answers
end

-- Whether the study is another patient's: their ids differ, or, where one has none, their names or birth dates. What is
-- empty says nothing.
local function differ(place)
  local held, new = known[OTHERS + place], ARGV[FIRST_ATTRIBUTE + place - 1]
  return held and new ~= '' and held ~= new
end
local is_other
if known[OTHERS + 1] and ARGV[FIRST_ATTRIBUTE] ~= '' then
  is_other = differ(1)
else
  is_other = differ(2) or differ(3)
end

-- Instances are looked up, and stored, so many at a time: a call takes a few thousand arguments.
local TOGETHER = 1000
local seen = {}
for from = FIRST_INSTANCE, #ARGV, 4 * TOGETHER do
  local to = math.min(from + 4 * TOGETHER - 1, #ARGV)
  local uids = {}
  for place = from, to, 4 do
    uids[#uids + 1] = ARGV[place]
  end
  local records = call('HMGET', instances, unpack(uids))
  for index, record in ipairs(records) do
    local place = from + 4 * (index - 1)
    local digest = ARGV[place + 1]
    local held = record and string.sub(record, 1, 64) or seen[ARGV[place]]
    if not held then
      seen[ARGV[place]] = digest
      if is_other then
        answers[#answers + 1] = 'patient'
      else
        answers[#answers + 1] = 'accepted'
        news[#news + 1] = place
      end
    elseif held == digest then
      answers[#answers + 1] = 'duplicate'
    else
      answers[#answers + 1] = held
    end
  end
end
if #news == 0 then
  -- Wanted sooner than before, though nothing new came: the study goes ahead with all its jobs.
  if mode ~= 'preview' and known[1] and not is_other and LEVEL[priority] > LEVEL[known[5]] then
    local held = call('HMGET', study, 'total', 'rank')
    if held[1] ~= '0' then
      local sooner = HEAD_START[priority] - HEAD_START[known[5]]
      for n, job in pairs(all_jobs(uid)) do
        leave(uid, n, job)
        job[RANK] = job[RANK] - sooner
        put_job(uid, n, job)
        enter(uid, n, job)
      end
      call('HSET', study, 'rank', string.format('%.0f', held[2] - sooner))
    end
    local wall = clocks()
    call('HSET', study, 'priority', priority, 'updated', wall)
  end
  return answers
end
if not known[1] then
  local open, of_tenant = 0, 0
  local counts = call('HGETALL', P .. 'open')
  for place = 1, #counts, 2 do
    open = open + counts[place + 1]
    if counts[place] == tenant then
      of_tenant = tonumber(counts[place + 1])
    end
  end
  if open >= max_open then
    return { 'studies' }
  end
  if of_tenant >= max_open_of_tenant then
    return { 'tenant' }
  end
end
if tonumber(known[3] or 0) + #news > max_instances then
  return { 'instances' }
end
if mode == 'preview' then
  return answers
end

local wall, t = clocks()
local modalities = {}
for modality in string.gmatch(known[4] or '', '[^\\]+') do
  modalities[#modalities + 1] = modality
end
local had = #modalities
for from = 1, #news, TOGETHER do
  local records, places = {}, {}
  for index = from, math.min(from + TOGETHER - 1, #news) do
    local place = news[index]
    records[#records + 1] = ARGV[place]
    records[#records + 1] = ARGV[place + 1] .. ARGV[place + 3]
    places[#places + 1], places[#places + 2] = ARGV[place], uid
    local modality = ARGV[place + 2]
    local is_new = modality ~= ''
    for _, held in ipairs(modalities) do
      is_new = is_new and held ~= modality
    end
    if is_new then
      modalities[#modalities + 1] = modality
    end
  end
  call('HSET', instances, unpack(records))
  call('HSET', P .. 'at', unpack(places))
end
if known[1] and known[1] ~= 'receiving' and known[1] ~= 'cancelled' then
  -- A cancelled study stays so when the rest of its upload comes in; only a new request opens it.
  reopen(uid, known[1], 'receiving', known[6], tenant, wall, t)
end
local changes = {
  'last_instance', t, 'updated', wall, 'instances', (known[3] or 0) + #news, 'changes', (known[7] or 0) + 1,
}
local function change(name, value)
  changes[#changes + 1] = name
  changes[#changes + 1] = value
end
if not known[1] then
  change('state', 'receiving')
  change('tenant', tenant)
  change('received', wall)
  change('opened', t)
  change('generation', '1')
  for _, name in ipairs({ 'next', 'total', 'finished', 'rank', 'draft' }) do
    change(name, '0')
  end
  call('ZADD', P .. 'ix:*', -wall, uid)
  call('ZADD', P .. listing_of('receiving'), -wall, uid)
  call('HINCRBY', P .. 'open', tenant, 1)
end
if #modalities ~= had then
  table.sort(modalities)
  change('modalities', table.concat(modalities, '\\'))
end
-- Attributes that are found later fill what is empty. The listings hold digests of them, never themselves.
local LISTED = { ['a:patient_id'] = 'ix:p:', ['a:accession_number'] = 'ix:a:', ['a:study_date'] = 'ix:d:' }
for place, name in ipairs(ATTRIBUTES) do
  local value, held = ARGV[FIRST_ATTRIBUTE + place - 1], known[OTHERS + place]
  if LISTS[name] and held then
    local list = held
    for line in string.gmatch(value, '[^\n]+') do
      local is_held = string.find('\n' .. list .. '\n', '\n' .. line .. '\n', 1, true)
      if not is_held and #list + 1 + #line <= MAX_LISTED_BYTES then
        list = list .. '\n' .. line
      end
    end
    if list ~= held then
      change(name, list)
    end
  elseif value ~= '' and not held then
    change(name, value)
    if LISTED[name] then
      call('ZADD', P .. LISTED[name] .. redis.sha1hex(value), -(known[6] or wall), uid)
    end
  end
end
if not known[5] or LEVEL[priority] > LEVEL[known[5]] then
  change('priority', priority)
end
call('HSET', study, unpack(changes))
return answers
