-- Makes a dead job ready again. ARGV: time, study, number.
local uid, n = ARGV[2], ARGV[3]
local study = P .. 's:' .. uid
local job = get_job(uid, n)
if not job then
  return { 'job' }
end
local held = call('HMGET', study, 'state', 'merge')
if not held[1] then
  return { 'study' }
end
if job[STATE] == 'c' then
  return { 'cancelled' }
end
if job[STATE] ~= 'D' then
  return { 'before' }
end
local state = held[1]
if state ~= 'queued' and state ~= 'reading' and state ~= 'drafted' and state ~= 'failed' then
  return { 'state', state }
end
local wall, t = clocks()
if job[KIND] ~= 'm' then
  -- The merge did not know what this job will find: it is withdrawn, and the next last job enqueues another.
  if held[2] then
    local merge = get_job(uid, held[2])
    if merge[STATE] ~= 'd' then
      leave(uid, held[2], merge)
      merge[STATE], merge[NOT_BEFORE], merge[EXPIRES], merge[UPDATED] = 'c', 0, 0, t
      put_job(uid, held[2], merge)
    end
    call('HDEL', study, 'merge')
  end
  call('HINCRBY', study, 'finished', -1)
end
call('HDEL', study, 'reason')
set_state(uid, state, 'reading', { 'updated', wall })
leave(uid, n, job)
job[STATE], job[ATTEMPTS], job[NOT_BEFORE], job[UPDATED] = 'r', 0, 0, t
put_job(uid, n, job)
enter(uid, n, job)
return { 'now' }
