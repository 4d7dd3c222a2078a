-- Adds instances to a study, or, with ARGV[2] 'preview', says what adding would answer.
-- ARGV: time, mode, study, tenant, priority, limits (open studies, those of the tenant, instances of a study),
-- 11 attributes, then uid, digest, modality and record of each instance.
local mode, uid, tenant, priority = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local max_open, max_open_of_tenant, max_instances = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local ATTRIBUTES = {
  'patient_id', 'patient_name', 'patient_birth_date', 'patient_sex', 'accession_number', 'study_id', 'study_date',
  'study_time', 'description', 'referring_physician', 'institution',
}
local FIRST_ATTRIBUTE = 9
local FIRST_INSTANCE = FIRST_ATTRIBUTE + #ATTRIBUTES

local study, instances = P .. 's:' .. uid, P .. 'i:' .. uid
local known = call('HMGET', study, 'state', 'tenant', 'instances', 'modalities', 'priority', 'received')
local answers, news = { 'ok' }, {}
if known[1] and known[2] ~= tenant then
  for _ = FIRST_INSTANCE, #ARGV, 4 do
    answers[#answers + 1] = 'tenant'
  end
  return answers
end

local function attribute(place)
  return ARGV[FIRST_ATTRIBUTE + place - 1]
end

-- Whether the study is another patient's: their ids differ, or, where one has none, their names or birth dates. What is
-- empty says nothing.
local function is_another_patient()
  local held = call('HMGET', study, 'a:patient_id', 'a:patient_name', 'a:patient_birth_date')
  local function differ(place)
    local new = attribute(place)
    return held[place] and new ~= '' and held[place] ~= new
  end
  if held[1] and attribute(1) ~= '' then
    return differ(1)
  end
  return differ(2) or differ(3)
end

local other = known[1] and is_another_patient()
local seen = {}
for place = FIRST_INSTANCE, #ARGV, 4 do
  local instance, digest = ARGV[place], ARGV[place + 1]
  local record = call('HGET', instances, instance)
  local held = record and string.sub(record, 1, 64) or seen[instance]
  if not held then
    seen[instance] = digest
    if other then
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
if #news == 0 then
  return answers
end
if not known[1] then
  local open = call('HMGET', P .. 'open', '*', tenant)
  if tonumber(open[1] or 0) >= max_open then
    return { 'studies' }
  end
  if tonumber(open[2] or 0) >= max_open_of_tenant then
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
for _, place in ipairs(news) do
  call('HSET', instances, ARGV[place], ARGV[place + 1] .. ARGV[place + 3])
  local modality = ARGV[place + 2]
  local is_new = modality ~= ''
  for _, held in ipairs(modalities) do
    is_new = is_new and held ~= modality
  end
  if is_new then
    modalities[#modalities + 1] = modality
  end
end
if #modalities ~= had then
  table.sort(modalities)
  call('HSET', study, 'modalities', table.concat(modalities, '\\'))
end
if not known[1] then
  call('HSET', study, 'state', 'receiving', 'tenant', tenant, 'received', wall, 'generation', 1, 'next', 0, 'total', 0,
    'finished', 0, 'rank', 0, 'draft', 0)
  call('ZADD', P .. 'ix:*', -wall, uid)
  call('ZADD', P .. 'ix:s:receiving', -wall, uid)
  count_open(tenant, 1)
elseif known[1] ~= 'receiving' and known[1] ~= 'cancelled' then
  -- A cancelled study stays so when the rest of its upload comes in; only a new request opens it.
  reopen(uid, known[1], 'receiving', wall)
end
-- Attributes that are found later fill what is empty. The listings hold digests of them, never themselves.
local LISTED = { patient_id = 'ix:p:', accession_number = 'ix:a:', study_date = 'ix:d:' }
for place, name in ipairs(ATTRIBUTES) do
  local value = attribute(place)
  if value ~= '' and call('HSETNX', study, 'a:' .. name, value) == 1 and LISTED[name] then
    call('ZADD', P .. LISTED[name] .. redis.sha1hex(value), -(known[6] or wall), uid)
  end
end
local LEVEL = { routine = 0, urgent = 1, stat = 2 }
if not known[5] or LEVEL[priority] > LEVEL[known[5]] then
  call('HSET', study, 'priority', priority)
end
call('HINCRBY', study, 'instances', #news)
call('HSET', study, 'last_instance', t, 'updated', wall)
return answers
