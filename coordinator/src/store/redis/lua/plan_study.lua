-- Gives a complete study its jobs. ARGV: time, study, generation, head start in ms, unread, notes, why it fails where
-- there are no jobs, then number (-1 where the job does not belong here), kind and spec of each job.
local uid, generation, head_start = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST_JOB = 8
local study = P .. 's:' .. uid
local held = call('HMGET', study, 'state', 'generation', 'next', 'tenant')
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
local wall, t = clocks()
call('HSET', study, 'unread', ARGV[5], 'notes', ARGV[6])
if jobs == 0 then
  set_state(uid, 'complete', 'failed', { 'reason', ARGV[7], 'updated', wall })
  return { 'now' }
end
local rank = t - head_start
set_state(uid, 'complete', 'queued', { 'rank', rank, 'total', jobs, 'next', next_job + jobs, 'updated', wall })
for place = FIRST_JOB, #ARGV, 3 do
  local n = tonumber(ARGV[place])
  local job = { ARGV[place + 1], 'r', rank, 0, 0, 0, 0, 0, '', 0, '', t, held[4], '' }
  call('HSET', P .. 'sp:' .. uid, n, ARGV[place + 2])
  put_job(uid, n, job)
  enter(uid, n, job)
end
return { 'now' }
