-- Gives a complete study its jobs. ARGV: time, study, generation, head start in ms, unread, notes, why it has no jobs and
-- what it is then, priority, route, what its jobs demand (empty for nothing), then number (-1 where the job does not belong here), kind and spec of each job.
local uid, generation, head_start = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST_JOB = 12
local study = P .. 's:' .. uid
local held = call('HMGET', study, 'state', 'generation', 'next', 'tenant', 'received', 'priority')
if not held[1] then
  return { 'study' }
end
if tonumber(held[2]) ~= generation then
  return { 'outdated' }
end
if held[1] == 'receiving' or held[1] == 'cancelled' then
  return { 'state', held[1] }
end
if held[1] ~= 'complete' then
  return { 'before' }
end
local next_job, jobs = tonumber(held[3]), 0
for place = FIRST_JOB, #ARGV, 3 do
  if tonumber(ARGV[place]) ~= next_job + jobs then
    return { 'misfit', jobs }
  end
  jobs = jobs + 1
end
local demand = ARGV[11] ~= '' and ARGV[11] or nil
local wall, t = clocks()
local priority = LEVEL[ARGV[9]] > LEVEL[held[6]] and ARGV[9] or held[6]
if jobs == 0 then
  set_state(uid, 'complete', ARGV[8], held[5], held[4], 'reason', ARGV[7], 'unread', ARGV[5], 'notes', ARGV[6],
    'route', ARGV[10], 'priority', priority, 'updated', wall)
  return { 'now' }
end
local rank = t - head_start
local score = string.format('%.0f', rank)
set_state(uid, 'complete', 'queued', held[5], held[4], 'rank', score, 'total', jobs, 'next', next_job + jobs,
  'unread', ARGV[5], 'notes', ARGV[6], 'route', ARGV[10], 'priority', priority, 'updated', wall)
-- So many jobs at a time: a call takes a few thousand arguments.
local TOGETHER = 1000
for from = FIRST_JOB, #ARGV, 3 * TOGETHER do
  local fields, queues = {}, {}
  for place = from, math.min(from + 3 * TOGETHER - 1, #ARGV), 3 do
    local n, kind = ARGV[place], ARGV[place + 1]
    local job = { kind, 'r', rank, 0, 0, 0, 0, 0, '', 0, '', t, held[4], '', demand }
    local last = #fields
    fields[last + 1], fields[last + 2], fields[last + 3], fields[last + 4] = n, cmsgpack.pack(job), 's' .. n, ARGV[place + 2]
    queues[kind] = queues[kind] or {}
    local queue = queues[kind]
    queue[#queue + 1], queue[#queue + 2] = score, member_of(uid, n, kind)
  end
  call('HSET', P .. 'j:' .. uid, unpack(fields))
  for kind, queue in pairs(queues) do
    call('ZADD', P .. queue_of(kind, held[4], demand), unpack(queue))
    note_waiting(kind, held[4], demand)
  end
end
return { 'now' }
